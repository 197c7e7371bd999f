"""Runs side by side: what is compared, what the tables say, and what is refused."""

import csv
import json
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest
import torch
from conftest import ROOT
from run_cases import ABOUT, BETTER, RECORDS, UNANIMOUS, write_log, write_run

from lightning_rs import SmoothedClassifier
from lightning_rs.cli.commands import run_command
from lightning_rs.mechanisms import required_fields, resolve_mechanisms
from lightning_rs.results import ExampleCertificate, Record, RunDescription, RunDirectory, run_of_records, write_report
from lightning_rs.results.mechanism_comparison import Lead
from lightning_rs.results.records import certificates_in
from lightning_rs.results.report import print_leads, print_table, report_runs
from lightning_rs.results.report_directory import ReportDirectory
from lightning_rs.results.runs import read_directory
from lightning_rs.results.sources import load_runs

HALFSPACE = RunDescription(
    data="Digits", split="test", architecture="halfspace", sigma=0.5, n0=100, n=1000, alpha=0.001
)


@pytest.mark.parametrize(("name", "radii"), [("fixed", (0.0, 0.25, 0.5, 0.75)), ("sequential", (0.25, 0.5))])
def test_the_table_of_version_1(tmp_path, name, radii):
    golden = ROOT / "tests" / "golden" / name
    write_report(*read_directory(golden)[:2], radii, tmp_path / name)
    now = (tmp_path / name / "table.csv").read_text().replace(",gaussian\n", "\n").replace(",noise\n", "\n", 1)
    assert now == (golden / "table.csv").read_text()


def test_a_mechanism_of_ones_own_is_shown(tmp_path, capsys):
    own = [replace(r, certificates=r.certificates | {"mine": ExampleCertificate(r.label, 0.2)}) for r in RECORDS]
    write_run(tmp_path, own)
    write_report(*read_directory(tmp_path)[:2], (0.0, 0.1), tmp_path)
    assert "│ mine" in capsys.readouterr().out
    assert ",mine,l2,0.25,4,1.0,1.0," in (tmp_path / "table.csv").read_text()
    assert "mine" in (tmp_path / "certified_accuracy.svg").read_text()


def test_the_commands(tmp_path, monkeypatch, capsys):
    """Two runs of one sigma, one of another, one that cannot be compared; then one of them certified again."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    write_run(tmp_path / "a")
    write_run(tmp_path / "b", UNANIMOUS)
    write_run(tmp_path / "c", UNANIMOUS, sigma=0.5)
    write_run(tmp_path / "d", n=1000)
    run_command(["report", "a", "b", "c", "d", "--radii", "[0,0.05]", "--names", "[one,two,three,four]"])
    out = capsys.readouterr().out
    assert out.count("R>0.05") == 5  # Accuracies and limits of both groups, and the envelope of the first.
    assert "Envelope" in out and "Not one classifier's" in out
    assert "not comparable, so in tables of their own: n: 10 in one, 1,000 in four" in out
    first = tmp_path / "report" / "group-1"
    assert {p.name for p in first.iterdir()} == {
        f"{name}.{kind}" for name in ("p_a", "runs-sigma0.25-cohen", "sigmas-cohen") for kind in ("png", "svg")
    } | {"table.md", "table.tex", "table.csv", "envelope.csv"}
    assert "| 0.25 | two | cohen | **100.0** | **100.0** |" in (first / "table.md").read_text()
    run_command(["recertify", "a", "--alpha", "0.2", "--output", "again", "--radii", "[0]"])
    about = json.loads((tmp_path / "again" / "run.json").read_text())
    assert about.pop("check")
    assert about == ABOUT | {"alpha": 0.2, "noise": "gaussian"}
    assert [r.index for r in RunDirectory("again").read()] == [0, 1, 2, 3]
    assert (tmp_path / "again" / "tsv" / "cohen.tsv").is_file()
    run_command(["recertify", "a", "--alpha", "0.2", "--output", "again"])  # Once more is no harm.
    assert [r.index for r in RunDirectory("again").read()] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["reprot", "a"], "unknown command 'reprot'; known: attack, audit, merge, plan, recertify, report"),
        (["report"], "the following arguments are required: sources"),
        (["report", "nowhere"], "no results at nowhere"),
        (["report", "empty"], "empty is not the directory of a certification: it holds no run.json"),
        (["report", "begun"], "begun holds no finished examples"),
        (["report", "torn"], "torn/run.json cannot be read: "),
        (["report", "short"], "short/run.json does not describe a certification: it lacks alpha, n, n0, sigma, split"),
        (["report", "newer"], "newer/run.json does not describe a certification: unknown colour; known: data, split,"),
        (["report", "a", "a"], "a source is given twice: a"),
        (["report", "a", "--names", "[x,y]"], "names must be 1 different ones, one for each source, got ['x', 'y']"),
        (["report", "a", "--radii", "[0.5,0.25]"], "radii must be strictly increasing, got [0.5, 0.25]"),
        (["report", "a", "--mechanisms", "[salman]"], "no run holds salman; there are cohen"),
        (["report", "a", "--confidence", "1"], "confidence must lie in (0, 1), got 1.0"),
        (["report", "text.tsv"], "text.tsv, line 1: expected the columns idx label predict radius correct time"),
        (["recertify", "a", "--alpha", "2"], "alpha must lie in (0, 1), got 2.0"),
        (["recertify", "a", "--mechanisms", "[salman]"], "the records do not hold what is needed: salman needs"),
        (["recertify", "a", "--output", "./a"], "output must be another directory than a"),
        (["recertify", "a", "--output", "b", "--alpha", "0.2"], "b holds another run; it differs in alpha (0.01 there"),
    ],
)
def test_bad_input_gets_one_line(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path / "a")
    write_run(tmp_path / "b")
    write_run(tmp_path / "begun", [])
    (tmp_path / "empty").mkdir()
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "run.json").write_text('{"data":')
    for name, values in (("short", {"data": "Digits"}), ("newer", ABOUT | {"colour": 1})):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_text(json.dumps(values))
    (tmp_path / "text.tsv").write_text("hello\n")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(SystemExit) as exit:
        run_command(arguments)
    assert exit.value.code == 2
    err = capsys.readouterr().err
    assert err.startswith(f"error: {message}") and len(err.splitlines()) == 1, err
    assert sorted(tmp_path.rglob("*")) == before


def test_a_results_file_in_a_group_of_its_own(tmp_path, monkeypatch, capsys):
    """Other images than the run's: two groups of tables and no plot by mechanism of the file, instead of a crash."""
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path / "a")
    write_log(tmp_path / "other.tsv", [replace(r, index=r.index + 50) for r in RECORDS])
    run_command(["report", "other.tsv", "a", "--output", "both"])
    assert {path.name for path in (tmp_path / "both").iterdir()} == {"group-1", "group-2", "report.json"}
    run_command(["report", "other.tsv", "a", "--output", "some", "--mechanisms", "[cohen]"])
    assert "other: none of cohen" in capsys.readouterr().out


def test_images_exactly_at_a_radius_are_told_beside_published_tables(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_log(tmp_path / "theirs.tsv")  # Right with .5 and .1, wrong with .3, and an abstention.
    run_command(["report", "theirs.tsv", "--radii", "[0, 0.1, 0.3, 0.5]", "--output", "at"])
    line = "with a radius of exactly r: 1 at 0.1, 1 at 0.5; tables of R ≥ r count them, R > r does not"
    assert line in capsys.readouterr().out and line.replace(">", "&gt;") in (tmp_path / "at" / "table.md").read_text()
    run_command(["report", "theirs.tsv", "--radii", "[0, 0.2]", "--output", "between"])
    assert "exactly r" not in capsys.readouterr().out


def test_the_largest_of_several_radii_is_said_to_have_no_guarantee(capsys):
    print_leads([Lead(name, 1.0, 0.5, 0.1) for name in ("cohen", "li", "cullen")], "hard")
    assert "has no joint guarantee at α; that of --mechanisms '[best:of=NAME+NAME+...]' has" in capsys.readouterr().out


def test_names_are_text_not_markup(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path / "a")
    write_run(tmp_path / "b", BETTER)
    run_command(["report", "a", "b", "--names", '["ours [v2]", "c[/b]"]', "--output", "out [1]"])
    text = capsys.readouterr().out
    assert "ours [v2]" in text and "c[/b]" in text and "out [1]" in text


def test_a_hostile_name_is_a_name_in_every_file(tmp_path, monkeypatch, capsys):
    """Through a whole report; the architecture is text of run.json, which may be another's."""
    monkeypatch.chdir(tmp_path)
    name = "_\n\\input{x}$|=\x1b[31m<script>"
    visible = "_\\input{x}$|=<script>"  # Of run.json control characters are refused.
    write_run(tmp_path / "a", architecture=visible)
    write_run(tmp_path / "b", BETTER, sigma=0.5, architecture=visible)
    run_command(["report", "a", "b", "--names", json.dumps([name, f"={name}"]), "--radii", "[0]"])
    assert "\x1b[31m" not in capsys.readouterr().out
    written = {path.name: path.read_text() for path in (tmp_path / "report").iterdir() if path.suffix != ".png"}
    assert "\\input" not in written["table.tex"].replace("% ", "%").split("\\begin", 1)[1]
    assert all(line.startswith("% ") for line in written["table.tex"].split("\\begin", 1)[0].splitlines())
    assert "<script" not in written["table.md"]
    assert [row["run"][:2] for row in csv.DictReader(written["table.csv"].splitlines())] == ["_\\", "'="]
    shown = [*ET.fromstring(written["sigmas-cohen.svg"]).itertext(), *ET.fromstring(written["p_a.svg"]).itertext()]
    assert any("_\\n\\input{x}$|=\\x1b[31m<script>" in text for text in shown)


def test_the_files_of_others_side_by_side(tmp_path, monkeypatch, capsys):
    """A folder of logs as they are published: guessed sigmas, fewer images in one, predictions, an empty file."""
    monkeypatch.chdir(tmp_path)
    logs = {"sigma_0.25": RECORDS, "sigma_0.50": BETTER, "sigma_1.00": BETTER[1:]}
    for name, records in logs.items():
        write_log(tmp_path / "logs" / name, records)
    (tmp_path / "logs" / "N_100").write_text("idx\tlabel\tpredict\tcorrect\ttime\n0\t1\t1\t1\t1\n")
    run_command(["report", "logs", "--common", "--n", "1000", "--alpha", "0.001", "--radii", "[0,0.2]"])
    out = capsys.readouterr().out
    assert "3 images, n = 1,000, α = 0.001" in out and "N_100: left out, is a log of predictions, without radii" in out
    assert "sigma_0.25, sigma_0.50: 3 of 4 images, those that all have" in out
    assert "sigma_0.50, sigma_1.00: if its radii were" in out and "σ = 0.5 is a guess from its path" in out
    with (tmp_path / "logs" / "report" / "table.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["sigma"], row["sigma_guess"]) for row in rows] == [("", "0.25"), ("", "0.5"), ("", "1.0")]
    assert all(float(row["population_limit@0"]) < 1 for row in rows)
    envelope = (tmp_path / "logs" / "report" / "envelope.csv").read_text().splitlines()[1]
    assert envelope == "as published,l2,0.25? 0.5? 1?,3,1.0,1.0"
    about = json.loads((tmp_path / "logs" / "report" / "report.json").read_text())
    assert about["finished"] and about["stated"] == {"n": 1000, "alpha": 0.001}


def test_norms_of_published_radii_do_not_mix(tmp_path):
    write_log(tmp_path / "file")
    stated = {"sigma": [0.25, 0.25, 0.5], "norm": ["l2", "l1", "l1"]}
    (tmp_path / "copy").write_text((tmp_path / "file").read_text())
    (tmp_path / "third").write_text((tmp_path / "file").read_text())
    runs, _ = load_runs([tmp_path / "file", tmp_path / "copy", tmp_path / "third"], stated=stated)
    report_runs(runs, ReportDirectory(tmp_path / "out", {}), (0.0,))
    stems = {path.stem for path in (tmp_path / "out").glob("*.svg")}
    assert stems == {"sigmas-as-published-l1"}  # No other pair can stand in one plot.


@pytest.mark.parametrize("name", ["report", "report/inner"])
def test_a_folder_of_others_is_not_written_to_nor_are_sources_read(tmp_path, monkeypatch, capsys, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "report" / "inner").mkdir(parents=True)
    (tmp_path / name / "table.csv").write_text("mine")
    (tmp_path / "damaged").write_text("?")
    before = {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")}
    with pytest.raises(SystemExit):
        run_command(["report", "damaged"])
    err = capsys.readouterr().err
    assert err.startswith("error: report is not the directory of a report: it holds ") and len(err.splitlines()) == 1
    assert before == {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")}


def test_recertifying_keeps_what_another_run_has(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path / "whole", alpha=0.02)
    write_run(tmp_path / "part", RECORDS[:1])
    with pytest.raises(SystemExit):
        run_command(["recertify", "part", "--alpha", "0.02", "--mechanisms", "[cohen]", "--output", "whole"])
    assert "holds 3 examples that part lacks" in capsys.readouterr().err
    assert len(RunDirectory(tmp_path / "whole").read()) == len(RECORDS)


def halfspace_records(*names):
    def classifier(x):
        return torch.stack([torch.zeros(len(x)), x[:, 0, 0, 0] - 0.4], dim=1)

    mechanisms = resolve_mechanisms(names)
    smoothed = SmoothedClassifier(classifier, 2, 0.5)
    for index in range(3):
        s = smoothed.sample(torch.zeros(1, 1, 2, 2), [index], n0=100, n=1000, fields=required_fields(mechanisms))
        stored = s.to_plain()
        votes = stored.pop("selection_counts"), stored.pop("counts")
        record = Record(index, 0, 0, *votes, certificates_in(mechanisms.certify(s, 0.001)), 0.1, stored)
        assert Record.from_json(record.to_json()) == record
        yield record


def run_of(records):
    return run_of_records(list(records), HALFSPACE, "halfspace")


def test_norms_are_told_apart(capsys):
    print_table(run_of(halfspace_records("cohen", "mohapatra_l1", "mohapatra_channel:height=1")), (0.0, 0.2))
    text = capsys.readouterr().out
    for name, norm in (("cohen", "l2"), ("mohapatra_l1", "l1"), ("mohapatra_channel:height=1", "l2_subspace")):
        (row,) = [line for line in text.splitlines() if f" {name} " in line]
        assert row.split("│")[2].strip() == norm
    assert "fell back" not in text


def test_l2_alone_needs_no_column(capsys):
    print_table(run_of(halfspace_records("cohen", "cohen_two_sided")), (0.0, 0.2))
    text = capsys.readouterr().out
    assert "norm" not in text.split("3 images")[0]


@pytest.mark.parametrize("failures", [1, 2])
def test_fallbacks_are_counted(failures, capsys):
    made = list(halfspace_records("cohen", "mohapatra_l1"))
    for k in range(failures):
        failed = replace(made[k].certificates["mohapatra_l1"], fallback=True)
        made[k] = replace(made[k], certificates=made[k].certificates | {"mohapatra_l1": failed})
    print_table(run_of(made), (0.0,))
    assert f"{failures} radii fell back to simpler ones" in capsys.readouterr().out
