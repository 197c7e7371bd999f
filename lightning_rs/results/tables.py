"""Tables of certifications: figures as text, the same for the terminal, Markdown, LaTeX and CSV."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from rich.table import Table as RichTable
from rich.text import Text

from lightning_rs.results.escaping import csv_text, markdown, one_line, tex
from lightning_rs.results.figures import Envelope, Figures
from lightning_rs.results.radius_text import accuracy_headers, radius_texts
from lightning_rs.results.runs import Run

SHARES = (0.5, 0.7, 0.9, 0.99, 0.999)
"""Where the distribution of p_A is cut for the table."""


@dataclass(frozen=True)
class Table:
    """A table of text.

    Attributes:
        title: what it shows.
        header: names of the columns; the first `names` of them name the row.
        rows: cells.
        best: (row, column) of the cells to mark.
        sections: rows before which a line is drawn.
        names: number of columns that name the row.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    best: frozenset[tuple[int, int]] = frozenset()
    sections: tuple[int, ...] = ()
    names: int = 1


def accuracy_table(rows: Sequence[Figures], radii: Sequence[float], title: str, single: bool = False) -> Table:
    """Certified accuracy at each radius and the figures beside it; the best of each sigma marked.

    Nothing is rounded up: shares that are better small are rounded up, all others down. `single` leaves out what is the
    same in all rows of one run.
    """
    norms = ("norm",) if {row.norm for row in rows} - {"l2"} else ()
    names = (*(("mechanism",) if single else ("σ", "run", "mechanism")), *norms)
    accuracies = () if single else ("smoothed", "base clean", "base noisy")
    draws = ("draws",) if any(row.draws == row.draws for row in rows) else ()
    header = (*names, *accuracy_headers(radii), "ACR (legacy)", "median r", "abstain", *draws, *accuracies)
    cells, values = [], []
    for row in rows:
        own = (row.mechanism,) if single else (_sigma(row), row.run, row.mechanism)
        own = (*own, row.norm) if norms else own
        accuracies = () if single else (row.smoothed, row.clean, row.noisy)
        values.append((*row.certified, row.acr, row.median, -row.abstained, *(-row.draws for _ in draws), *accuracies))
        cells.append(
            (
                *own,
                *(percent(v) for v in row.certified),
                decimals(row.acr),
                decimals(row.median),
                percent(row.abstained, up=True),
                *(f"{row.draws:,.0f}" if row.draws == row.draws else "–" for _ in draws),
                *map(percent, accuracies),
            )
        )
    return Table(title, header, tuple(cells), _best(rows, values, len(names)), _sections(rows), len(names))


def limit_table(rows: Sequence[Figures], radii: Sequence[float], confidence: float) -> Table:
    """Lower confidence limits on the certified accuracy in the population."""
    names = ("σ", "run", "mechanism")
    cells = []
    for row in rows:
        cells.append((_sigma(row), row.run, row.mechanism, *(percent(v) for v in row.limit), f"{row.examples:,}"))
    header = (*names, *accuracy_headers(radii), "images")
    title = f"Certified accuracy (%), {confidence:.0%} lower limit for the population of the images"
    return Table(title, header, tuple(cells), _best(rows, [row.limit for row in rows], len(names)), (), len(names))


def envelope_table(envelopes: Sequence[Envelope], radii: Sequence[float]) -> Table:
    """The largest certified accuracy of all sigmas at each radius."""
    header = ("mechanism", "norm", "σ", "runs", *accuracy_headers(radii))
    cells = [
        (row.mechanism, row.norm, _sigmas(row), f"{row.runs}", *map(percent, row.certified)) for row in envelopes
    ]
    title = "Envelope: largest certified accuracy (%) of all σ at each radius\nNot one classifier's: each σ has its own"
    return Table(title, header, tuple(cells), names=3)


def share_table(runs: Sequence[Run]) -> Table | None:
    """How the share of votes for the selected class, the estimate of p_A, is distributed over the images."""
    known = [run for run in runs if run.share is not None]
    if not known:
        return None
    edges = (0.0, *SHARES)
    header = ("run", *(f"{low:g}–{high:g}" for low, high in zip(edges, (*SHARES, 1.0), strict=True)), "unanimous")
    cells = []
    for run in known:
        unanimous = run.share == 1.0
        # Of the shares below 1; the left edge belongs to the cell.
        counts = np.histogram(run.share[~unanimous], bins=[*edges, 1.0])[0]
        cells.append((run.name, *(f"{100 * c / len(run):.1f}" for c in (*counts, unanimous.sum()))))
    return Table("Images (%) by share of votes for the selected class, p_A", header, tuple(cells))


def to_rich(table: Table) -> RichTable:
    """For the terminal; no narrower than its title, which would be broken otherwise."""
    title = Text("\n".join(map(one_line, table.title.splitlines())), style="bold")
    rich = RichTable(title=title, min_width=max((line.cell_len for line in title.split()), default=0))
    for i, name in enumerate(table.header):
        rich.add_column(Text(one_line(name)), justify="left" if i < table.names else "right", no_wrap=True)
    for i, row in enumerate(table.rows):
        if i in table.sections:
            rich.add_section()
        styles = ("bold green" if (i, j) in table.best else "" for j in range(len(row)))
        rich.add_row(*(Text(one_line(cell), style=style) for cell, style in zip(row, styles, strict=True)))
    return rich


def to_markdown(table: Table) -> str:
    """A Markdown table under its title; the best cells bold."""
    lines = [f"**{' — '.join(map(markdown, table.title.splitlines()))}**", ""]
    lines.append("| " + " | ".join(map(markdown, table.header)) + " |")
    lines.append("|" + "|".join("---" if i < table.names else "--:" for i in range(len(table.header))) + "|")
    for i, row in enumerate(table.rows):
        cells = (f"**{markdown(c)}**" if (i, j) in table.best else markdown(c) for j, c in enumerate(row))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def to_latex(table: Table) -> str:
    """A LaTeX table for the package booktabs; the best cells bold."""
    columns = "l" * table.names + "r" * (len(table.header) - table.names)
    lines = [
        r"\begin{table}",
        r"  \centering",
        f"  \\caption{{{tex(', '.join(table.title.splitlines()))}.}}",
        f"  \\begin{{tabular}}{{{columns}}}",
        r"    \toprule",
        "    " + " & ".join(tex(name) for name in table.header) + r" \\",
        r"    \midrule",
    ]
    for i, row in enumerate(table.rows):
        if i in table.sections:
            lines.append(r"    \midrule")
        cells = (f"\\textbf{{{tex(c)}}}" if (i, j) in table.best else tex(c) for j, c in enumerate(row))
        lines.append("    " + " & ".join(cells) + r" \\")
    return "\n".join([*lines, r"    \bottomrule", r"  \end{tabular}", r"\end{table}"]) + "\n"


def to_csv(rows: Sequence[Figures], radii: Sequence[float]) -> str:
    """All figures of all rows, unrounded; empty where they are not known."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    lists = {"certified": "certified_accuracy", "limit": "population_limit", "sample_limit": "sample_limit"}
    plain = ("acr", "median", "abstained", "smoothed", "draws", "clean", "noisy")
    header = ["run", "mechanism", "norm", "sigma", "examples"]
    header += [f"{name}@{text}" for name in lists.values() for text in radius_texts(radii)]
    header += ["acr", "median_radius", "abstention_rate", "smoothed_accuracy", "draws"]
    header += ["clean_accuracy", "noisy_accuracy", "noise"]
    guesses = any(row.guessed for row in rows)
    header += ["sigma_guess"] if guesses else []
    writer.writerow(header)
    for row in rows:
        sigma = math.nan if row.guessed else row.sigma
        figures = [sigma, row.examples, *(v for name in lists for v in getattr(row, name))]
        figures += [getattr(row, name) for name in plain]
        known = ("" if math.isnan(v) else v for v in figures)
        texts = map(csv_text, (row.run, row.mechanism, row.norm))
        guess = row.sigma if row.guessed else ""
        writer.writerow([*texts, *known, csv_text(row.noise), *([guess] if guesses else [])])
    return file.getvalue()


def envelope_csv(envelopes: Sequence[Envelope], radii: Sequence[float]) -> str:
    """The envelopes, unrounded."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    largest = (f"largest_certified_accuracy@{text}" for text in radius_texts(radii))
    writer.writerow(["mechanism", "norm", "sigmas", "runs", *largest])
    for row in envelopes:
        writer.writerow([csv_text(row.mechanism), csv_text(row.norm), _sigmas(row), row.runs, *row.certified])
    return file.getvalue()


def percent(share: float, up: bool = False) -> str:
    """A share in percent with one decimal, rounded down, or up."""
    if math.isnan(share):
        return "–"
    # Ten digits are more than a share of counts can need; they keep .29 * 100 from becoming 28.9.
    tenths = round(share * 1000, 10)
    return f"{(math.ceil(tenths) if up else math.floor(tenths)) / 10:.1f}"


def decimals(value: float, digits: int = 4) -> str:
    """A number rounded down."""
    return f"{math.floor(value * 10**digits) / 10**digits:.{digits}f}" if math.isfinite(value) else str(value)


def _best(rows: Sequence[Figures], values: Sequence[Sequence[float]], offset: int) -> frozenset[tuple[int, int]]:
    """Cells with the largest value of their column among the rows of a sigma and norm; none where all are equal."""
    best = set()
    kinds = [(_sigma(row), row.norm) for row in rows]
    for kind in set(kinds):
        chosen = [i for i, other in enumerate(kinds) if other == kind]
        for column in range(len(values[0])):
            known = {i: values[i][column] for i in chosen if not math.isnan(values[i][column])}
            if len(known) > 1 and min(known.values()) < max(known.values()):
                best |= {(i, column + offset) for i, v in known.items() if v == max(known.values())}
    return frozenset(best)


def _sections(rows: Sequence[Figures]) -> tuple[int, ...]:
    """Where another sigma begins."""
    return tuple(i for i in range(1, len(rows)) if _sigma(rows[i]) != _sigma(rows[i - 1]))


def _sigmas(row: Envelope) -> str:
    return " ".join(f"{sigma:g}" + "?" * guessed for sigma, guessed in row.sigmas)


def _sigma(row: Figures) -> str:
    return "?" if math.isnan(row.sigma) else f"{row.sigma:g}" + "?" * row.guessed

