import json
import re

import pytest
import torch

from lightning_rs.audit import float_attack, noise, places, running
from lightning_rs.audit.finding import Finding
from lightning_rs.cli import audit as module
from lightning_rs.cli import run_command
from lightning_rs.noise import NoiseSource
from lightning_rs.noise.base import philox


@pytest.fixture
def few_parts(monkeypatch):
    monkeypatch.setattr(running, "PARTS", (float_attack, places))


def test_where_everything_holds_it_ends_with_a_table_and_writes_nothing(few_parts, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run_command(["audit", "--quick", "--accelerator", "cpu", "--seed", "3"])
    out = capsys.readouterr().out
    assert "Quick audit on cpu, float32, seed 3" in out
    assert re.search(r"│ float attack │ noise on the grid +│ no certificate .* │ 0 of 2 refuted +│ holds │", out)
    assert re.fullmatch(r"7 checks hold, in \d+ s", out.splitlines()[-1])
    assert not list(tmp_path.iterdir())


def test_what_fails_is_named_and_is_the_exit_status(monkeypatch, tmp_path, capsys):
    """Stages that share their noise, the real noise's one place broken; all in JSON."""
    monkeypatch.setattr(running, "PARTS", (noise,))
    monkeypatch.setattr(NoiseSource, "generator", lambda self, index, _, block: philox(self.seed, index, 0, block))
    with pytest.raises(SystemExit) as left:
        run_command(["audit", "--quick", f"--output={tmp_path / 'audit.json'}"])
    assert left.value.code == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "3 of 16 checks FAILED"
    subject = "noise, stages, GridGaussian(0.25, levels=16)"
    assert lines[-4].startswith(f"{subject}: expected correlations below 0.025; seen 1.0")
    said = json.loads((tmp_path / "audit.json").read_text())
    assert (said["passed"], said["checks"], said["failed"], said["quick"]) == (False, 16, 3, True)
    assert said["device"] == "cpu" and said["precision"] == "float32" and said["versions"]["torch"] == torch.__version__
    wrong = [finding["subject"].partition(",")[0] for finding in said["findings"] if not finding["passed"]]
    assert wrong == ["stages", "purposes", "votes of stages and purposes"]
    assert said["findings"][0]["numbers"]["level"] == 1e-8


def test_how_it_is_run_is_how_classifiers_are(few_parts, monkeypatch, capsys):
    seen = []
    monkeypatch.setattr(module, "run_cases", lambda cases: [Finding("a", "b", "c", "d", True)])
    monkeypatch.setattr(module, "list_cases", seen.append)
    run_command(["audit", "--precision=bfloat16", "--channels_last", "--fold_batch_norm"])
    (settings,) = seen
    assert not settings.quick and settings.device == torch.device("cpu") and settings.seed == 0
    assert settings.preparation.precision == "bfloat16" and settings.preparation.channels_last
    assert settings.preparation.fold_batch_norm and not settings.preparation.compile
    assert "Audit on cpu, bfloat16, channels_last, fold_batch_norm, seed 0" in " ".join(capsys.readouterr().out.split())


def test_numbers_that_are_not_finite_are_text(few_parts, monkeypatch, tmp_path):
    found = Finding("a", "[b]\n", "c", "d", True, {"radius": float("inf"), "images": torch.tensor(3).numpy()[()]})
    monkeypatch.setattr(module, "run_cases", lambda cases: [found])
    run_command(["audit", f"--output={tmp_path / 'a.json'}"])
    (finding,) = json.loads((tmp_path / "a.json").read_text())["findings"]
    assert finding["numbers"] == {"radius": "inf", "images": 3} and finding["subject"] == "[b]\n"


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--precision=tf32", "precision tf32 needs a CUDA device, got cpu"),
        ("--precision=float8", "precision: "),
        ("--seed=-1", "seed must be an integer of at least 0, got -1"),
        ("--output=nowhere/a.json", "output must be a file in a folder that exists, and nowhere does not"),
        ("--output=.", "output must be a file, and . is a folder"),
        *([] if torch.cuda.is_available() else [("--accelerator=gpu", "No supported gpu backend found!")]),
    ],
)
def test_bad_input_is_one_line_before_any_work(option, message, few_parts, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module, "run_cases", None)
    with pytest.raises(SystemExit) as left:
        run_command(["audit", "--quick", option])
    assert left.value.code == 2
    out, err = capsys.readouterr()
    assert not out and err.startswith(f"error: {message}") and len(err.splitlines()) == 1, err
    assert not list(tmp_path.iterdir())
