"""`certify.py plan` on a net of digits: tables, JSON, a budget, and what cannot be planned."""

import json
import re

import pytest

from lightning_rs.cli import plan as module
from lightning_rs.cli import run_command

NET = """
import torch
from torch import nn


def make(images):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    net[1].weight.data *= 6
    return net
"""
SUBJECT = {"arch": "plannednet.make", "weights": "own", "normalization": "none", "data": "Digits", "sigma": 0.25}
QUICK = {"images": 4, "draws": 100, "n": 500, "limit": 30, "batch_size": 200, "accelerator": "cpu"}


@pytest.fixture
def work(tmp_path, monkeypatch):
    (tmp_path / "plannednet.py").write_text(NET)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def plan(**options):
    module.plan(**(SUBJECT | QUICK | options))


def words(**options):
    return [f"--{name}={value}" for name, value in (SUBJECT | QUICK | options).items()]


def test_it_shows_tables_and_time_of_both_ways_and_writes_nothing_but_what_is_asked_for(work, capsys):
    before = set(work.iterdir())
    run_command(["plan", *words(output="plan.json", devices=3)])
    out = capsys.readouterr().out
    assert "Predicted certified accuracy (%), 95% limits" in out and "R>0.25" in out
    rows = [line for line in out.splitlines() if re.match("│ (cohen|cohen_two_sided|sequential_betting) ", line)]
    assert len(rows) == 4 and all(re.search(r"\d \(\d+\.\d–\d+\.\d\)", row) for row in rows[:3])
    assert "2 devices ┃ 3 devices" in out and "│ 600 │" in " ".join(out.split())
    assert re.search(r"From 4 of 30 images, 100 draws each: [\d,]+ draws a second on cpu", out)
    said = json.loads((work / "plan.json").read_text())
    assert {path.name for path in set(work.iterdir()) - before} <= {"plan.json", "__pycache__"}
    fixed, sequential = said["forecasts"]
    assert said["images"] == 30 and len(said["pilot"]["indices"]) == 4
    assert fixed["draws_per_image"] == {"value": 600, "low": 600, "high": 600}
    assert set(fixed["seconds"]) == {"1", "2", "3", "4", "8"}
    assert sequential["settings"]["mechanisms"] == ["sequential_betting"]
    assert len(fixed["certified_accuracy"]["cohen"]) == len(fixed["radii"]) == 4


def test_a_sequential_plan_stands_beside_a_fixed_one_and_soft_ones_stand_alone(work, capsys):
    plan(mechanisms=["sequential_betting"], images=2)
    names = re.findall(r"^│ (\w+) ", capsys.readouterr().out, flags=re.MULTILINE)
    assert names == ["sequential_betting", "cohen"] * 2
    plan(mechanisms=["salman", "salman:bound=betting"], images=2)
    done = capsys.readouterr()
    assert re.findall(r"^│ (salman\S*) ", done.out, flags=re.MULTILINE) == ["salman", "salman,"]
    assert "salman:bound=betting is timed and not predicted: it reads scores" in " ".join(done.err.split())


def test_a_budget_chooses_n(work, capsys):
    plan(budget="30s", mechanisms=["salman"], images=2, limit=2)
    out = " ".join(capsys.readouterr().out.split())
    assert re.search(r"salman: n = [\d,]+0 is what fits 30 s on 1 device", out)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"budget": "soon"}, r"budget must be a number above 0 with s, m, h or d behind it, as in 30m, got 'soon'"),
        ({"budget": "0h"}, "budget must be a number above 0"),
        ({"images": 0}, "images must be an integer of at least 1, got 0"),
        ({"draws": 0}, "draws must be an integer of at least 1, got 0"),
        ({"devices": 0}, "devices must be an integer of at least 1, got 0"),
        ({"confidence": 1.0}, "confidence must lie in"),
        ({"output": "nowhere/plan.json"}, "output must be a file in a folder that exists"),
        ({"n": 5}, "cohen_two_sided cannot certify anything with n = 5"),
    ],
)
def test_what_cannot_be_planned_is_said_before_any_work(work, monkeypatch, option, message):
    monkeypatch.delattr(module, "run_pilot")
    with pytest.raises(ValueError, match=f"^{message}"):
        plan(**option)


def test_a_budget_too_small_for_any_certificate_is_told_what_it_would_take(work, capsys):
    with pytest.raises(SystemExit) as left:
        run_command(["plan", *words(budget="0.0001s", output="plan.json", images=1)])
    assert left.value.code == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert re.search(r"too small for any certificate: at alpha = 0.001 cohen, .* needs n = \d+ at least, which", line)
    assert not (work / "plan.json").exists()


def test_budgets_are_read_in_four_units():
    assert [module.seconds_of(text) for text in ("90s", "30m", "2h", "1.5d")] == [90.0, 1800.0, 7200.0, 129600.0]
