import json
import shutil

import pytest
from conftest import ROOT, run_script
from scipy.stats import beta, norm

from lightning_rs.cli import run_command
from lightning_rs.results import RunDirectory

FIXED = ROOT / "tests" / "golden" / "fixed"


@pytest.fixture
def work(tmp_path, monkeypatch):
    """Working directory with a certification, `fixed`."""
    shutil.copytree(FIXED, tmp_path / "fixed")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_stored_votes_are_certified_with_another_alpha(work):
    options = ("--alpha=0.01", "--mechanisms=[cohen]", "--radii=[0.1, 0.6]")
    done = run_script("certify.py", "recertify", "fixed", *options, cwd=work)
    assert "R>0.6" in done.stdout
    (again,) = (path for path in (work / "fixed").iterdir() if path.is_dir())
    assert again.name.startswith("alpha0.01-")
    old = json.loads((FIXED / "run.json").read_text())
    new = json.loads((again / "run.json").read_text())
    changed = {"alpha": 0.01, "mechanisms": ["cohen"]}
    assert {key: new[key] for key in old} == old | changed
    records = RunDirectory(again).read()
    assert [record.index for record in records] == old["indices"]
    for record in records:
        top = max(record.selection, key=record.selection.get)
        bound = beta.ppf(0.01, record.counts[top], 1000 - record.counts[top] + 1)
        certificate = record.certificates["cohen"]
        assert certificate.p_lower == pytest.approx(bound, rel=1e-9)
        if bound > 0.5:
            assert (certificate.prediction, certificate.radius) == (top, pytest.approx(0.25 * norm.ppf(bound)))
        else:
            assert (certificate.prediction, certificate.radius) == (-1, 0.0)
    for name in ("run.json", "records-0.jsonl"):
        assert (work / "fixed" / name).read_bytes() == (FIXED / name).read_bytes()


def test_a_directory_that_is_being_written_is_refused_and_keeps_its_records(work, capsys):
    run_command(["recertify", "fixed", "--alpha=0.01", "--mechanisms=[cohen]", "--output=running"])
    running = RunDirectory("running")
    before = running.read()
    assert "fixed: no check sum in 8 of 8 records" in capsys.readouterr().err
    with running.appender(0), pytest.raises(SystemExit) as left:
        run_command(["recertify", "fixed", "--alpha=0.01", "--mechanisms=[cohen]", "--output=running"])
    assert left.value.code == 2
    message = "error: another certification is writing to running/records-0.jsonl: let it end, or name another output\n"
    assert capsys.readouterr().err == message
    assert running.read() == before and len(before) == 8


def test_a_changed_record_is_named(work, capsys):
    path = work / "fixed" / "records-0.jsonl"
    path.write_text(path.read_text().replace('"3":992,"9":8', '"3":999,"9":1', 1))
    for command in (["recertify", "fixed", "--alpha=0.01", "--mechanisms=[cohen]"], ["report", "fixed"]):
        with pytest.raises(SystemExit):
            run_command(command)
        err = capsys.readouterr().err
        assert err.startswith("error: fixed/records-0.jsonl, line 1: ") and len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--radii=[-0.5]", "radii must "),
        ("--alpha=1.5", "alpha must "),
        ("--mechanisms=[coen]", "unknown mechanism 'coen'; known: "),
        ("--mechanisms=['salman:bound=betting']", "the records do not hold what is needed: "),
        ("--output=fixed/../fixed", "output must be another directory than fixed, whose records stay as they are"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(option, message, work, capsys):
    before = sorted(work.rglob("*"))
    with pytest.raises(SystemExit) as left:
        run_command(["recertify", "fixed", "--mechanisms=[cohen]", option])
    assert left.value.code == 2
    err = capsys.readouterr().err
    assert err.startswith(f"error: {message}") and len(err.splitlines()) == 1, err
    assert sorted(work.rglob("*")) == before
