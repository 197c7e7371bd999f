"""Runs side by side: what is compared, what the tables say, and what is refused."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
from test_summary import RECORDS, record

from lightning_rs.cli.commands import run_command
from lightning_rs.results import RunDirectory
from lightning_rs.results.comparability import comparable_groups, differences, remarks
from lightning_rs.results.runs import load_run, load_runs, run_of_records
from lightning_rs.results.tables import Table, accuracy_table, rows_of, share_table, to_csv, to_latex, to_markdown
from lightning_rs.results.tsv import write_tsv

ABOUT = {
    "data": "Digits",
    "split": "test",
    "indices": [0, 1, 2, 3],
    "architecture": "digits_cnn",
    "sigma": 0.25,
    "n0": 100,
    "n": 10,
    "alpha": 0.01,
    "pixel_range": [0, 1],
    "mechanisms": ["cohen"],
}
BETTER = [replace(r, certificates={"cohen": {"prediction": r.label, "radius": 0.4}}) for r in RECORDS]


def write_run(path, records=RECORDS, **changes):
    directory = RunDirectory(path)
    directory.create(ABOUT | changes)
    with directory.appender(0) as file:
        for r in records:
            file.append(r)
    return path


def test_rows_by_hand():
    (row,) = rows_of([run_of_records(RECORDS, ABOUT, "a")], [0.0, 0.25], confidence=0.9)
    assert (row.run, row.mechanism, row.sigma, row.examples) == ("a", "cohen", 0.25, 4)
    assert row.certified == (0.5, 0.25)
    # One of four: the lower limit p solves 1 - (1 - p)^4 = .1.
    assert row.limit[1] == pytest.approx(1 - 0.9**0.25 - 0.01, rel=1e-9)
    assert row.sample_limit == (0.5, 0.25)  # Of 4 certificates at .01 none is wrong with probability .96.
    assert row.acr == pytest.approx(0.15)
    assert row.median == pytest.approx(0.05)  # Radii .5, 0 (abstained), 0 (wrong), .1.
    assert (row.abstained, row.smoothed, row.clean) == (0.25, 0.5, 0.75)
    assert row.noisy == pytest.approx((1 + 0.6 + 0.1 + 0.8) / 4)


def test_the_best_of_each_sigma_is_marked_and_nothing_is_rounded_up():
    runs = [
        run_of_records(RECORDS, ABOUT, "a"),
        run_of_records(BETTER, ABOUT, "b"),
        run_of_records(RECORDS, ABOUT | {"sigma": 0.5}, "alone"),
    ]
    rows = rows_of(runs, [0.0, 0.45])
    table = accuracy_table(rows, [0.0, 0.45], "T")
    assert table.header[:5] == ("σ", "run", "mechanism", "r=0", "r=0.45")
    assert [row[:5] for row in table.rows] == [
        ("0.25", "a", "cohen", "50.0", "25.0"),
        ("0.25", "b", "cohen", "100.0", "0.0"),
        ("0.5", "alone", "cohen", "50.0", "25.0"),
    ]
    best = {(i, table.header[j]) for i, j in table.best}
    assert (1, "r=0") in best and (0, "r=0.45") in best and (1, "ACR (legacy)") in best and (1, "abstain") in best
    assert (0, "r=0") not in best
    assert not any(i == 2 for i, _ in best)  # Alone with its sigma there is no best.
    assert not any("base" in name for _, name in best)  # Equal in all rows.
    assert table.sections == (2,)


def test_markdown_latex_and_csv():
    table = Table("A & B", ("σ", "x_1"), (("a_b", "50 %"), ("c", "1.0")), frozenset({(1, 1)}), (1,))
    assert to_markdown(table) == "**A & B**\n\n| σ | x_1 |\n|---|--:|\n| a_b | 50 % |\n| c | **1.0** |\n"
    latex = to_latex(table)
    assert "\\caption{A \\& B.}" in latex
    assert "    $\\sigma$ & x\\_1 \\\\\n    \\midrule\n    a\\_b & 50 \\% \\\\\n    \\midrule\n" in latex
    assert "c & \\textbf{1.0} \\\\" in latex
    rows = rows_of([run_of_records(RECORDS, ABOUT, "a")], [0.0, 0.25])
    (read,) = csv.DictReader(to_csv(rows, [0.0, 0.25]).splitlines())
    assert read["run"] == "a"
    assert float(read["certified_accuracy@0.25"]) == 0.25
    assert float(read["acr"]) == rows[0].acr  # Unrounded.


def test_distribution_of_shares():
    table = share_table([run_of_records(RECORDS, ABOUT, "a")])
    assert table.header == ("run", "0–0.5", "0.5–0.7", "0.7–0.9", "0.9–0.99", "0.99–0.999", "0.999–1", "unanimous")
    assert table.rows == (("a", "0.0", "25.0", "25.0", "25.0", "0.0", "0.0", "25.0"),)  # 1, .6, .9 and .8.


@pytest.mark.parametrize(
    ("records", "changes", "difference"),
    [
        (RECORDS, {"n": 1000}, "n: 10 in a, 1,000 in b"),
        (RECORDS, {"alpha": 0.001}, "alpha: 0.01 in a, 0.001 in b"),
        (RECORDS, {"data": "MNIST"}, "data: Digits in a, MNIST in b"),
        (RECORDS, {"split": "val"}, "split: test in a, val in b"),
        (RECORDS[:3], {}, "images: 4 in a, 3 in b, 3 in both"),
        ([*RECORDS[:3], record(9, 2, 2, {2: 1}, 2, 0.1)], {}, "images: 4 in a, 4 in b, 3 in both"),
        ([*RECORDS[:3], record(3, 7, 2, {2: 1}, 2, 0.1)], {}, "labels: 1 of 4 differ between a and b"),
    ],
)
def test_what_cannot_be_compared(records, changes, difference):
    a, b = run_of_records(RECORDS, ABOUT, "a"), run_of_records(records, ABOUT | changes, "b")
    assert differences(a, b) == [difference]
    assert comparable_groups([a, b, a]) == [[a, a], [b]]
    assert remarks([a, b]) == [f"not comparable, so in tables of their own: {difference}"]


def test_sigma_weights_and_seeds_may_differ():
    a = run_of_records(RECORDS, ABOUT, "a")
    b = run_of_records(BETTER, ABOUT | {"sigma": 0.5, "weights_sha256": "x", "seed": 7, "device": "cuda"}, "b")
    assert differences(a, b) == remarks([a, b]) == []


def test_a_results_file_beside_a_run(tmp_path):
    write_tsv(RECORDS, "cohen", tmp_path / "theirs.tsv")
    ours, theirs = load_runs([write_run(tmp_path / "ours"), tmp_path / "theirs.tsv"])
    assert (ours.name, theirs.name) == ("ours", "theirs")
    assert comparable_groups([ours, theirs]) == [[ours, theirs]]
    assert any(
        "theirs does not say its sigma, data, split, n0, n, alpha, pixel_range" in r for r in remarks([ours, theirs])
    )
    assert "if its radii were rounded to nearest" in theirs.notes[0]
    mine, published = (rows_of([run], [0.0, 0.25])[0] for run in (ours, theirs))
    assert mine.certified == published.certified
    assert published.acr <= mine.acr
    assert np.isnan(published.clean) and np.isnan(published.limit[0]) and np.isnan(published.sigma)


def test_an_unfinished_run_is_said_to_be_one(tmp_path):
    assert load_run(write_run(tmp_path / "a", RECORDS[:3])).notes == ("a is not finished: 1 of 4 examples are missing",)
    assert load_run(write_run(tmp_path / "training" / "certification")).name == "training"


def test_the_commands(tmp_path, monkeypatch, capsys):
    """Two runs of one sigma, one of another, one that cannot be compared; then one of them certified again."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    write_run(tmp_path / "a")
    write_run(tmp_path / "b", BETTER)
    write_run(tmp_path / "c", BETTER, sigma=0.5)
    write_run(tmp_path / "d", n=1000)
    run_command(["report", "a", "b", "c", "d", "--radii", "[0,0.25]", "--names", "[one,two,three,four]"])
    out = capsys.readouterr().out
    assert out.count("r=0.25") == 4  # Accuracies and limits, of both groups.
    assert "not comparable, so in tables of their own: n: 10 in one, 1,000 in four" in out
    first = tmp_path / "report" / "group-1"
    assert {p.name for p in first.iterdir()} == {
        f"{name}.{kind}" for name in ("p_a", "runs-sigma0.25-cohen", "sigmas-cohen") for kind in ("png", "svg")
    } | {"table.md", "table.tex", "table.csv"}
    assert "| 0.25 | two | cohen | **100.0** | **100.0** |" in (first / "table.md").read_text()
    run_command(["recertify", "a", "--alpha", "0.2", "--output", "again", "--radii", "[0]"])
    about = json.loads((tmp_path / "again" / "run.json").read_text())
    assert about == ABOUT | {"alpha": 0.2}
    assert [r.index for r in RunDirectory("again").read()] == [0, 1, 2, 3]
    assert (tmp_path / "again" / "tsv" / "cohen.tsv").is_file()
    run_command(["recertify", "a", "--alpha", "0.2", "--output", "again"])  # Once more is no harm.
    assert [r.index for r in RunDirectory("again").read()] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["reprot", "a"], "unknown command 'reprot'; known: recertify, report"),
        (["report"], "the following arguments are required: sources"),
        (["report", "nowhere"], "no results at nowhere"),
        (["report", "empty"], "empty is not the directory of a certification: it holds no run.json"),
        (["report", "begun"], "begun holds no finished examples"),
        (["report", "torn"], "torn/run.json cannot be read: "),
        (["report", "a", "a"], "a source is given twice: a, a"),
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
    write_tsv([replace(r, index=r.index + 50) for r in RECORDS], "cohen", tmp_path / "other.tsv")
    run_command(["report", "other.tsv", "a", "--output", "both"])
    assert {path.name for path in (tmp_path / "both").iterdir()} == {"group-1", "group-2"}
    run_command(["report", "other.tsv", "a", "--output", "some", "--mechanisms", "[cohen]"])
    assert "other: none of cohen" in capsys.readouterr().out


def test_names_are_text_not_markup(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path / "a")
    write_run(tmp_path / "b", BETTER)
    run_command(["report", "a", "b", "--names", '["ours [v2]", "c[/b]"]', "--output", "out [1]"])
    text = capsys.readouterr().out
    assert "ours [v2]" in text and "c[/b]" in text and "out [1]" in text


def test_recertifying_keeps_what_another_run_has(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path / "whole", alpha=0.02)
    write_run(tmp_path / "part", RECORDS[:1])
    with pytest.raises(SystemExit):
        run_command(["recertify", "part", "--alpha", "0.02", "--mechanisms", "[cohen]", "--output", "whole"])
    assert "holds 3 examples that part lacks" in capsys.readouterr().err
    assert len(RunDirectory(tmp_path / "whole").read()) == len(RECORDS)


def test_two_programs_do_not_write_to_one_file(tmp_path):
    directory = RunDirectory(write_run(tmp_path / "a"))
    with directory.appender(0), pytest.raises(ValueError, match="another certification is writing to "):
        directory.appender(0)
    assert len(directory.read()) == len(RECORDS)


def test_easy_images_of_an_unfinished_sequential_run_are_no_sample():
    votes = [replace(r, counts={0: 10 * (k + 1)}) for k, r in enumerate(RECORDS)]
    (row,) = rows_of([run_of_records(votes, ABOUT, "whole")], [0.0])
    assert row.limit[0] == row.limit[0]
    (row,) = rows_of([run_of_records(votes, ABOUT | {"indices": [0, 1, 2, 3, 9]}, "part")], [0.0])
    assert np.isnan(row.limit[0])
