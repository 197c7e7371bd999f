import csv
import io
from dataclasses import replace

from rich.console import Console
from run_cases import BETTER, DESCRIPTION, RECORDS

from lightning_rs.results.figures import Envelope, figures
from lightning_rs.results.report import show_table
from lightning_rs.results.runs import run_of_records
from lightning_rs.results.tables import (
    Table,
    accuracy_table,
    decimals,
    envelope_csv,
    envelope_table,
    percent,
    share_table,
    to_csv,
    to_latex,
    to_markdown,
    to_rich,
)


def test_the_best_of_each_sigma_is_marked_and_nothing_is_rounded_up():
    runs = [
        run_of_records(RECORDS, DESCRIPTION, "a"),
        run_of_records(BETTER, DESCRIPTION, "b"),
        run_of_records(RECORDS, replace(DESCRIPTION, sigma=0.5), "alone"),
    ]
    rows = [row for run in runs for row in figures(run, [0.0, 0.45])]
    table = accuracy_table(rows, [0.0, 0.45], "T")
    assert table.header[:5] == ("σ", "run", "mechanism", "R>0", "R>0.45")
    assert table.header[-3:] == ("smoothed", "base clean", "base noisy")
    assert [row[:5] for row in table.rows] == [
        ("0.25", "a", "cohen", "50.0", "25.0"),
        ("0.25", "b", "cohen", "100.0", "0.0"),
        ("0.5", "alone", "cohen", "50.0", "25.0"),
    ]
    best = {(i, table.header[j]) for i, j in table.best}
    assert (1, "R>0") in best and (0, "R>0.45") in best and (1, "ACR (legacy)") in best and (1, "abstain") in best
    assert (0, "R>0") not in best
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
    rows = figures(run_of_records(RECORDS, DESCRIPTION, "a"), [0.0, 0.25])
    (read,) = csv.DictReader(to_csv(rows, [0.0, 0.25]).splitlines())
    assert read["run"] == "a"
    assert float(read["certified_accuracy@0.25"]) == 0.25
    assert float(read["acr"]) == rows[0].acr  # Unrounded.


def test_distribution_of_shares():
    table = share_table([run_of_records(RECORDS, DESCRIPTION, "a")])
    assert table.header == ("run", "0–0.5", "0.5–0.7", "0.7–0.9", "0.9–0.99", "0.99–0.999", "0.999–1", "unanimous")
    assert table.rows == (("a", "0.0", "25.0", "25.0", "25.0", "0.0", "0.0", "25.0"),)  # 1, .6, .9 and .8.


def test_nothing_printed_is_rounded_up():
    assert percent(0.98999) == "98.9"
    assert percent(0.29) == "29.0"  # 0.29 * 1000 is 290.00000000000006 or 289.99999999999994, depending on the order.
    assert percent(1 / 364, up=True) == "0.3"
    assert percent(1.0) == "100.0"
    assert decimals(0.57599) == "0.5759"


def test_a_guessed_sigma_is_never_a_known_one():
    known = run_of_records(RECORDS, DESCRIPTION, "known")
    guessed = replace(run_of_records(BETTER, DESCRIPTION, "guessed"), description=None, guess=0.25)
    rows = [row for run in (known, guessed) for row in figures(run, [0.0])]
    table = accuracy_table(rows, [0.0], "T")
    assert [row[0] for row in table.rows] == ["0.25", "0.25?"] and not table.best
    first, second = csv.DictReader(to_csv(rows, [0.0]).splitlines())
    assert (first["sigma"], first["sigma_guess"]) == ("0.25", "")
    assert (second["sigma"], second["sigma_guess"]) == ("", "0.25")
    assert "sigma_guess" not in to_csv(rows[:1], [0.0])


def test_the_envelope_in_numbers():
    rows = [Envelope("cohen", "l2", ((0.25, False), (0.5, True)), 3, (0.98999, 0.5))]
    table = envelope_table(rows, [0.0, 0.25])
    assert table.header == ("mechanism", "norm", "σ", "runs", "R>0", "R>0.25")
    assert table.rows == (("cohen", "l2", "0.25 0.5?", "3", "98.9", "50.0"),)
    assert "Not one classifier's" in table.title
    (read,) = csv.DictReader(envelope_csv(rows, [0.0, 0.25]).splitlines())
    assert read["largest_certified_accuracy@0"] == "0.98999" and read["sigmas"] == "0.25 0.5?"


def test_hostile_names_stay_names_in_every_table():
    name = "=1+1|\n\\input{x}%$[red]\x1b[31m"
    run = run_of_records(RECORDS, DESCRIPTION, name)
    rows = figures(run, [0.0])
    table = accuracy_table(rows, [0.0], f"Title\n{name}")
    assert len(to_markdown(table).splitlines()) == 5
    assert "\\input" not in to_latex(table)
    (read,) = csv.DictReader(to_csv(rows, [0.0]).splitlines())
    assert read["run"].startswith("'=1+1|\\n") and read["mechanism"] == "cohen"
    console = Console(file=io.StringIO(), width=500, force_terminal=True, color_system="truecolor")
    console.print(to_rich(table))
    shown = console.file.getvalue()
    assert "[red]\\x1b[31m" in shown and "\x1b[31m" not in shown


def test_a_title_wider_than_its_table_is_not_broken(capsys):
    title = "Certified accuracy (%)\nImageFolder-8dafa78b test, a long name, σ = 0.25 on the grid of 1/255, α = 0.001"
    show_table(Table(title, ("mechanism", "R>0"), (("cohen", "98.3"),)))
    lines = capsys.readouterr().out.splitlines()
    assert [line.strip() for line in lines[1:3]] == title.splitlines()
    assert len({len(line) for line in lines[3:]}) == 1
