"""What version 0.1 gave is given still: records of every mechanism, tables, and the weights that training ends with.

`golden/` was written by it: a checkpoint (small weights set to zero), certifications of it with every mechanism, and
the weights after two epochs of every objective. On the same library versions and processor features everything is
equal to the bit; elsewhere floating point may round otherwise, so whole numbers are still equal and others close.
Scores are close everywhere: version 0.1 summed those of the softmax in float32, whose sums may exceed one by rounding.
"""

import csv
import gzip
import hashlib
import json
import shutil
import sys

import numpy
import pytest
import scipy
import torch
from conftest import ROOT, run_script

import train
from lightning_rs.mechanisms import gradient_moments, parse_mechanism
from lightning_rs.results.environment import is_environment

GOLDEN = ROOT / "tests" / "golden"
PLATFORM = {m.__name__: m.__version__ for m in (torch, numpy, scipy)} | {"cpu": torch.backends.cpu.get_cpu_capability()}
EXACT = json.loads((GOLDEN / "platform.json").read_text()) == PLATFORM
# What says where and by what a certification was made, which now stands beside the records.
CIRCUMSTANCES = {"batch_size", "device", "versions", "commit"}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp("version1") / "version1.ckpt"
    path.write_bytes(gzip.decompress((GOLDEN / "version1.ckpt.gz").read_bytes()))
    return path


def run_of(folder):
    return without_check(json.loads((folder / "run.json").read_text()))


def records_of(folder):
    lines = (folder / "records-0.jsonl").read_text().splitlines()
    said = [json.loads(line) | {"seconds": 0} for line in lines if not is_environment(line.encode())]
    records = [without_check(values) for values in said]
    return sorted(records, key=lambda record: record["index"])


def as_kept_now(record):
    """With moments within rows 2 to 4 and outside of them in the place of the sums of every pixel."""
    statistics = record["statistics"]
    if sums := statistics.pop("gradient_sums", None):
        rows = numpy.zeros((1, 8, 8), dtype=bool)
        rows[:, 2:5] = True
        moments = [gradient_moments(numpy.where(part, [sums], 0.0))[0].tolist() for part in (rows, ~rows)]
        named = ["channel=all,top=2,left=0,height=3,width=rest"]
        statistics |= {"region_moments": [moments], "regions": named, "input_shape": statistics.pop("input_shape")}
    return record


def without_check(values):
    """Without the check sum, which version 0.1 did not write."""
    return {key: value for key, value in values.items() if key != "check"}


def assert_same(new, old, place=""):
    if place.endswith("_histogram"):
        # Near 1 the thresholds are so close that a rounded score may stand in the next bin.
        reached = [numpy.cumsum([histogram.get(str(bin), 0) for bin in range(1001)]) for histogram in (new, old)]
        assert reached[0][-1] == reached[1][-1] and numpy.abs(reached[0] - reached[1]).max() <= 3, place
    elif isinstance(old, dict):
        assert list(new) == list(old), place
        for key in old:
            assert_same(new[key], old[key], f"{place}/{key}")
    elif isinstance(old, list):
        assert len(new) == len(old), place
        for i, (a, b) in enumerate(zip(new, old, strict=True)):
            assert_same(a, b, f"{place}/{i}")
    elif isinstance(old, float) and of_scores(place):
        assert new == pytest.approx(old, rel=1e-6, abs=1e-6), place
    elif isinstance(old, float) and not EXACT:
        assert new == pytest.approx(old, rel=1e-9, abs=1e-12), place
    elif isinstance(old, float) and "/certificates/moutaouakil" in place:
        assert new == pytest.approx(old, rel=1e-10), place  # Its tails were sums then.
    else:
        assert new == old and type(new) is type(old), place


def of_scores(place):
    """Whether what stands there comes from scores: a field of the statistics, or a soft mechanism's certificate."""
    _, _, kind, name, *_ = [*place.split("/"), "", "", ""]
    if kind == "statistics":
        return name.startswith(("score_", "margin_"))
    return kind == "certificates" and parse_mechanism(name).smoothing == "soft"


def assert_same_table(new, old):
    """Equal text, but for the last column, the noise, which tables of version 0.1 did not have, soft mechanisms and
    `moutaouakil`, which is computed otherwise since."""
    rows, expected = (list(csv.DictReader(path.read_text().splitlines())) for path in (new, old))
    assert len(rows) == len(expected)
    for row, other in zip(rows, expected, strict=True):
        assert row.pop("noise") == "gaussian" and list(row) == list(other)
        for column, value in row.items():
            mechanism = parse_mechanism(row["mechanism"])
            close = {"soft": 1e-6} | ({"hard": 1e-10} if mechanism.name == "moutaouakil" else {})
            if mechanism.smoothing in close and column in ("acr", "median_radius"):
                assert float(value) == pytest.approx(float(other[column]), rel=close[mechanism.smoothing])
            else:
                assert value == other[column], column


def certify(checkpoint, name, output, status=0, noise="gaussian"):
    """The command that made golden/`name`, from its own run.json, with the noise of that time named."""
    run = run_of(GOLDEN / name)
    arguments = [f"--{key}={json.dumps(run[key])}" for key in ("n", "sigma", "batch_size", "indices", "mechanisms")]
    if run["radii"]:
        arguments.append(f"--radii={json.dumps(run['radii'])}")
    options = (f"--noise={noise}", "--devices=1", "--accelerator=cpu", "--wandb_mode=disabled", f"--output={output}")
    return run_script(
        "certify.py", f"--checkpoint={checkpoint}", *arguments, *options, cwd=output.parent, status=status
    )


@pytest.mark.parametrize("name", ["fixed", "sequential"])
def test_certifying_gives_the_same_records_run_and_table(name, checkpoint, tmp_path):
    certify(checkpoint, name, tmp_path / name)
    assert_same(records_of(tmp_path / name), [as_kept_now(record) for record in records_of(GOLDEN / name)])
    new, old = run_of(tmp_path / name), run_of(GOLDEN / name)
    assert new.pop("noise") == "gaussian"  # Which was not said when there was no other.
    assert new.pop("input_shape") == [1, 8, 8]  # Nor was this, but in records that needed it.
    assert_same(new, {key: value for key, value in old.items() if key not in CIRCUMSTANCES})
    if EXACT:
        assert_same_table(tmp_path / name / "table.csv", GOLDEN / name / "table.csv")


def test_a_certification_that_was_begun_goes_on(checkpoint, tmp_path):
    folder = tmp_path / "begun"
    shutil.copytree(GOLDEN / "sequential", folder)
    lines = (folder / "records-0.jsonl").read_text().splitlines(keepends=True)
    (folder / "records-0.jsonl").write_text("".join(lines[:5]) + lines[5][:99])
    done = certify(checkpoint, "sequential", folder, status=2, noise="grid_gaussian")
    assert 'differs in noise ("gaussian" there, "grid_gaussian:levels=16" now)' in done.stderr
    done = certify(checkpoint, "sequential", folder)
    (told,) = (line for line in done.stderr.splitlines() if "goes on with" in line)
    assert "; 5 records were made with " in told and f"commit {run_of(folder)['commit'][:12]}" in told
    assert (folder / "run.json").read_bytes() == (GOLDEN / "sequential" / "run.json").read_bytes()
    assert (folder / "records-0.jsonl").read_text().startswith("".join(lines[:5]))
    assert_same(records_of(folder), records_of(GOLDEN / "sequential"))


@pytest.mark.parametrize("name", ["fixed", "sequential"])
def test_records_are_reported_and_certified_again(name, tmp_path):
    shutil.copytree(GOLDEN / name, tmp_path / name)
    run_script("certify.py", "report", name, "--output=report", cwd=tmp_path)
    assert (tmp_path / "report" / "table.csv").read_text().count("\n") == 1 + len(run_of(GOLDEN / name)["mechanisms"])
    # Single scores are not stored.
    mechanisms = [m for m in run_of(GOLDEN / name)["mechanisms"] if "bound=betting" not in m]
    run_script("certify.py", "recertify", name, f"--mechanisms={json.dumps(mechanisms)}", cwd=tmp_path)
    (again,) = (path for path in (tmp_path / name).iterdir() if path.name.startswith("alpha"))
    for new, old in zip(records_of(again), records_of(GOLDEN / name), strict=True):
        for mechanism in mechanisms:
            a, b = new["certificates"][mechanism], old["certificates"][mechanism]
            assert a["prediction"] == b["prediction"] and a["radius"] == pytest.approx(b["radius"], rel=1e-12)


@pytest.mark.parametrize("objective", json.loads((GOLDEN / "training.json").read_text()))
def test_training_ends_with_the_same_weights(objective, tmp_path, monkeypatch):
    own = ROOT / "configs" / "digits" / f"{objective}_0.50.yaml"
    arguments = [
        f"--config={own if own.exists() else own.with_name(f'{objective}.yaml')}",
        "--model.sigma=0.5",
        "--name=run",
        "--trainer.max_epochs=2",
        "--trainer.enable_progress_bar=false",
        "--trainer.accelerator=cpu",
        "--wandb.mode=disabled",
        "--live_certification.every_n_epochs=0",
        "--certification.limit=1",
        "--certification.n=100",
    ]
    monkeypatch.setattr(sys, "argv", ["train.py", *arguments])
    monkeypatch.chdir(tmp_path)
    train.main()
    content = torch.load("runs/run/checkpoints/last.ckpt", weights_only=True)
    weights = [value for key, value in content["state_dict"].items() if key.startswith("base_classifier.")]
    expected = json.loads((GOLDEN / "training.json").read_text())[objective]
    assert [float(w.double().norm()) for w in weights] == pytest.approx(expected["norms"], rel=1e-3)
    if EXACT:
        digest = hashlib.sha256(b"".join(w.contiguous().numpy().tobytes() for w in weights)).hexdigest()
        assert digest == expected["sha256"]
