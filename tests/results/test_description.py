import hashlib
import json
from dataclasses import replace

import pytest
from conftest import ROOT
from run_cases import ABOUT, DESCRIPTION

from lightning_rs.results import RunDescription


@pytest.mark.parametrize("name", ["fixed", "sequential"])
def test_run_json_of_version_1_stays_as_it_is(name):
    """Its bytes, and the digest by which version 0.1 named directories."""
    path = ROOT / "tests" / "golden" / name / "run.json"
    run = RunDescription.read(path)
    assert run.to_json().replace('  "noise": "gaussian",\n', "") == path.read_text()  # There was no other.
    values = json.loads(path.read_text())
    assert run == RunDescription.from_dict(values)
    assert run.to_dict() == values
    assert run.digest == hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
    assert isinstance(run.indices, tuple) and isinstance(run.normalization["mean"], tuple)


def test_what_is_not_said_is_left_out():
    assert RunDescription.from_dict(ABOUT).to_dict() == DESCRIPTION.to_dict() == ABOUT
    assert DESCRIPTION.seed is None and not DESCRIPTION.commit
    # Where there can be none of it, none is an answer.
    assert replace(DESCRIPTION, commit=None, radii=None).to_dict() == ABOUT | {"commit": None, "radii": None}


def test_noise_stands_before_sigma_unless_it_is_gaussian():
    uniform = replace(DESCRIPTION, noise="uniform")
    keys = list(uniform.to_dict())
    assert keys[keys.index("sigma") - 1] == "noise"
    assert uniform.digest != DESCRIPTION.digest
    assert RunDescription.from_dict(uniform.to_dict()) == uniform
    noise = "uniform noise, σ = 0.25, assuming real arithmetic"
    assert uniform.title == f"Digits test, digits_cnn, {noise}, n = 10, α = 0.01"


def test_title():
    title = replace(DESCRIPTION, n=100_000).title
    assert title == "Digits test, digits_cnn, σ = 0.25, assuming real arithmetic, n = 100,000, α = 0.01"
    grid = replace(DESCRIPTION, noise="grid_gaussian:levels=16")
    assert grid.title == "Digits test, digits_cnn, σ = 0.25 on the grid of 1/16, n = 10, α = 0.01"
    rounded = "Digits test, digits_cnn, σ = 0.25 on the grid of 1/16 to which the images were rounded, n = 10, α = 0.01"
    assert replace(grid, quantized=True).title == rounded


def test_differences():
    other = replace(DESCRIPTION, seed=1, n=20, radii=None)
    # None there and nothing said is no difference.
    assert DESCRIPTION.differences(other) == {"n": (10, 20), "seed": (None, 1)}
    assert other.differences(DESCRIPTION) == {"n": (20, 10), "seed": (1, None)}
    grid = replace(DESCRIPTION, noise="grid_gaussian:levels=16", sampling_error=1e-12)
    assert DESCRIPTION.differences(grid) == {"noise": ("gaussian", "grid_gaussian:levels=16")}
    assert replace(grid, seed=7).differences(replace(grid, seed="random")) == {}
    found = replace(DESCRIPTION, batch_size=400)
    assert found.differences(replace(found, batch_size="auto")) == {}
    assert found.differences(replace(found, batch_size=100)) == {"batch_size": (400, 100)}
    assert replace(found, batch_size="auto").differences(found) == {"batch_size": ("auto", 400)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "run.json cannot be read: "),
        ("[]", "run.json does not describe a certification: it lacks alpha, data, n, n0, sigma, split"),
        (json.dumps(ABOUT | {"sgima": 1}), "run.json does not describe a certification: unknown sgima; known: data, "),
        (json.dumps({k: v for k, v in ABOUT.items() if k != "n0"}), "it lacks n0"),
    ],
)
def test_bad_files(tmp_path, text, message):
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(ValueError) as error:
        RunDescription.read(tmp_path / "run.json")
    assert message in str(error.value) and "\n" not in str(error.value)
