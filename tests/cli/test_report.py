import csv
import shutil

import pytest
from conftest import ROOT, run_script

from lightning_rs.cli import run_command

FIXED = ROOT / "tests" / "golden" / "fixed"


@pytest.fixture
def work(tmp_path, monkeypatch):
    """Working directory with a certification, `fixed`."""
    shutil.copytree(FIXED, tmp_path / "fixed")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_tables_of_one_directory_lie_in_it(work):
    done = run_script("certify.py", "report", "fixed", "--mechanisms=[li, mohapatra_linf]", cwd=work)
    assert "Digits test, 8 images, digits_cnn, σ = 0.25, assuming real arithmetic, n = 1,000, α = 0.001" in done.stdout
    expected = [row for row in rows(FIXED / "table.csv") if row["mechanism"] in ("li", "mohapatra_linf")]
    assert rows(work / "fixed" / "report" / "table.csv") == [row | {"noise": "gaussian"} for row in expected]
    assert (FIXED / "records-0.jsonl").read_bytes() == (work / "fixed" / "records-0.jsonl").read_bytes()


def test_those_of_several_lie_here_with_the_asked_columns(work):
    shutil.copytree(FIXED, work / "twin")
    run_command(["report", "fixed", "twin", "--names=[one, two]", "--radii=[0.5]", "--mechanisms=[cohen, li]"])
    assert sorted(path.name for path in work.iterdir()) == ["fixed", "report", "twin"]
    found = rows(work / "report" / "table.csv")
    expected = [(name, mechanism) for name in ("one", "two") for mechanism in ("cohen", "li")]
    assert [(row["run"], row["mechanism"]) for row in found] == expected
    assert [float(row["certified_accuracy@0.5"]) for row in found] == [0.75, 0.125] * 2
    assert "certified_accuracy@0.25" not in found[0]


def test_the_confidence_of_the_lower_limits(work):
    run_command(["report", "fixed", "--mechanisms=[li]", "--radii=[0]", "--confidence=0.9", "--output=loose"])
    (row,) = rows(work / "loose" / "table.csv")
    # Clopper-Pearson of 8 of 8, less alpha.
    assert float(row["population_limit@0"]) == pytest.approx(0.1 ** (1 / 8) - 0.001, rel=1e-12)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--radii=[-0.5]", "radii must "),
        ("--confidence=1", "confidence must lie in (0, 1), got 1.0"),
        ("--mechanisms=[coen]", "no run holds coen; there are cohen, "),
        ("--names=[one, two]", "names must "),
        ("--sigma=0.5", "fixed says its sigma itself, 0.25: give 0.5 only to the sources that do not"),
        ("--sigma=[0.25, 0.5]", "sigma must be one value, or 1, one for each source in order, got 2"),
        ("--alpha=1", "alpha must lie in (0, 1), got 1.0"),
        ("--n=0.5", "n: Expected an integer"),
        ("--norm=l7", "unknown norm 'l7'; known: l1, l2, l2_subspace, linf"),
        ("--column=id=x", "unknown column 'id'; known: correct, idx, label, predict, radius, time"),
        ("--output=.", ". is not the directory of a report: it holds fixed and no report.json; name a new one"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(option, message, work, capsys):
    with pytest.raises(SystemExit) as left:
        run_command(["report", "fixed", "--output=out", option])
    assert left.value.code == 2
    err = capsys.readouterr().err
    assert err.startswith(f"error: {message}") and len(err.splitlines()) == 1, err
    assert not (work / "out").exists()
