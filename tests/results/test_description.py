import hashlib
import json
from dataclasses import replace

import pytest
from conftest import ROOT
from run_cases import ABOUT, DESCRIPTION

from lightning_rs.results import RunDescription
from lightning_rs.results.check_sums import FILE


@pytest.mark.parametrize("name", ["fixed", "sequential"])
def test_run_json_of_version_1_stays_as_it_is(name):
    """Its bytes, and the digest by which version 0.1 named directories."""
    path = ROOT / "tests" / "golden" / name / "run.json"
    run = RunDescription.read(path)
    text, checked = FILE.take(run.to_json().encode())
    assert checked
    assert text.decode().replace('  "noise": "gaussian",\n', "") == path.read_text()  # There was no other.
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
    ours, theirs = (replace(DESCRIPTION, weights_sha256=digest) for digest in ("ab", "cd"))
    assert ours.differences(theirs) == {"weights_sha256": ("ab", "cd")}
    grid = replace(DESCRIPTION, noise="grid_gaussian:levels=16", sampling_error=1e-12)
    assert DESCRIPTION.differences(grid) == {"noise": ("gaussian", "grid_gaussian:levels=16")}
    assert replace(grid, seed=7).differences(replace(grid, seed="random")) == {}
    found = replace(DESCRIPTION, seed=400)
    assert found.differences(replace(found, seed="random")) == {}
    assert found.differences(replace(found, seed=100)) == {"seed": (400, 100)}
    assert replace(found, seed="random").differences(found) == {"seed": ("random", 400)}
    elsewhere = replace(DESCRIPTION, batch_size=400, device="cuda", versions={"torch": "2"}, commit=None)
    assert elsewhere.differences(DESCRIPTION) == DESCRIPTION.differences(elsewhere) == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "run.json cannot be read: "),
        ("", "run.json cannot be read: Input data was truncated"),
        ("null", "run.json does not describe a certification: it lacks alpha, data, n, n0, sigma, split"),
        ('{"data": "a", "data": "b"}', "run.json cannot be read: the key 'data' stands there twice"),
        ('{"n": NaN}', "run.json cannot be read: JSON is malformed"),
        ('{"n": 1e400}', "run.json cannot be read: Number out of range"),
        ('{"a":' * 100_000, "run.json cannot be read: it is nested too deeply"),
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


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sigma": 0}, "Expected `float` > 0.0 - at `$.sigma`"),
        ({"sigma": "0.25"}, "Expected `float`, got `str` - at `$.sigma`"),
        ({"n": 0}, "Expected `int` >= 1 - at `$.n`"),
        ({"n": 2.5}, "Expected `int`, got `float` - at `$.n`"),
        ({"n0": -1}, "Expected `int` >= 0 - at `$.n0`"),
        ({"alpha": 1}, "Expected `float` < 1.0 - at `$.alpha`"),
        ({"num_classes": 1}, "Expected `int` >= 2 - at `$.num_classes`"),
        ({"num_classes": True}, "Expected `int | null`, got `bool` - at `$.num_classes`"),
        ({"indices": [0, -1]}, "Expected `int` >= 0 - at `$.indices[1]`"),
        ({"indices": [3, 3]}, "indices must be different ones"),
        ({"mechanisms": ["cohen", "cohen"]}, "mechanisms must be different ones"),
        ({"mechanisms": "cohen"}, "Expected `array | null`, got `str` - at `$.mechanisms`"),
        ({"radii": [0.5, 0.25]}, "radii must be strictly increasing"),
        ({"radii": []}, "Expected `array` of length >= 1 - at `$.radii`"),
        ({"noise": []}, "Expected `str`, got `array` - at `$.noise`"),
        ({"radii": ["a"]}, "Expected `float`, got `str` - at `$.radii[0]`"),
        ({"seed": 2**64}, "seed must be less than 2**64"),
        ({"seed": "dice"}, "Invalid enum value 'dice' - at `$.seed`"),
        ({"pixel_range": [1, 0]}, "pixel_range must be the lowest and the highest value"),
        ({"normalization": {"mean": [0.5]}}, "normalization must be a mean and a positive std of every channel"),
        ({"normalization": {"mean": [0.5], "std": [1, 2]}}, "normalization must be"),
        ({"normalization": {"mean": [0.5], "std": [0]}}, "normalization must be"),
        ({"data": "two\nlines"}, "Expected `str` matching regex"),
        ({"noise": "grid_gaussian"}, "levels of the noise must be an integer of at least 1, got None"),
        ({"noise": "grid_gaussian:levels"}, "a noise must read name or name:option=value"),
    ],
)
def test_values_out_of_range_are_refused_in_a_file_and_when_it_is_made(changes, message, tmp_path):
    (tmp_path / "run.json").write_text(json.dumps(ABOUT | changes))
    with pytest.raises(ValueError) as error:
        RunDescription.read(tmp_path / "run.json")
    assert str(error.value).startswith(f"{tmp_path}/run.json does not describe a certification: {message}")
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError) as error:
        replace(DESCRIPTION, **changes)
    assert str(error.value).startswith(message)


def test_a_file_that_was_edited_is_refused_and_one_without_a_check_sum_is_read(tmp_path):
    path = tmp_path / "run.json"
    path.write_text(DESCRIPTION.to_json())
    assert RunDescription.examine(path) == (DESCRIPTION, True)
    path.write_text(DESCRIPTION.to_json().replace("0.25", "0.50"))
    with pytest.raises(ValueError) as error:
        RunDescription.read(path)
    assert str(error.value) == f"{path} cannot be read: its check sum does not fit"
    path.write_text(json.dumps(ABOUT))
    assert RunDescription.examine(path) == (DESCRIPTION, False)


def test_the_number_tells_runs_apart():
    assert DESCRIPTION.number == replace(DESCRIPTION).number
    numbers = {replace(DESCRIPTION, **change).number for change in ({}, {"n": 20}, {"sigma": 0.5}, {"commit": None})}
    assert len(numbers) == 4
