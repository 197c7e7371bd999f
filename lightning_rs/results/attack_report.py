"""The report of an attack: what is printed and written at its end."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import astuple, fields
from pathlib import Path

from rich.console import Console
from rich.text import Text

from lightning_rs.files import write_whole
from lightning_rs.results import attack_plots
from lightning_rs.results.attack_figures import CONFIDENCE, Attack, AttackedRun, AttackFigures, attack_figures, attacks
from lightning_rs.results.escaping import csv_text, markdown, one_line
from lightning_rs.results.radius_text import accuracy_headers, radius_texts
from lightning_rs.results.report import show_directory, show_table
from lightning_rs.results.tables import Table, percent, to_markdown


def write_attack(run: AttackedRun, radii: Sequence[float], directory: str | Path) -> list[AttackFigures]:
    """Print the table of an attack and the certificates that are violated, write tables and plots into `directory`,
    and return the figures.

    Args:
        run: of one image or more.
        radii: of interest, in the norm of each mechanism.
        directory: where `table.md`, `table.csv`, `images.csv` and the plots go; it is there.
    """
    directory = Path(directory)
    figures = attack_figures(run, radii)
    table = attack_table(figures, radii, run.title)
    remarks = [_about(run), *violated_lines(run), verdict(figures)]
    below = "".join(f"- {markdown(line)}\n" for line in remarks)
    write_whole(directory / "table.md", f"{to_markdown(table)}\n{below}")
    write_whole(directory / "table.csv", figures_csv(figures, radii))
    write_whole(directory / "images.csv", images_csv(run))
    attack_plots.robust_accuracy(run, directory / "robust_accuracy.png")
    attack_plots.radius_distance(run, directory / "radius_distance.png")
    show_table(table)
    show_directory("Outcomes, tables and plots", directory)
    for line in remarks:
        Console().print(Text(one_line(line)), soft_wrap=True)
    return figures


def attack_table(figures: Sequence[AttackFigures], radii: Sequence[float], title: str) -> Table:
    """Violations, and certified accuracy below the share of images that could not be broken.

    Of the two, the first is rounded down and the second up.
    """
    norms = ("norm",) if {row.norm for row in figures} - {"l2"} else ()
    header = ("mechanism", *norms, "certificates", "violated", "allowed", *accuracy_headers(radii))
    header = (*header, "radius / distance", "no point found")
    rows = []
    for row in figures:
        own = (row.mechanism, row.norm) if norms else (row.mechanism,)
        shares = zip(row.certified, row.robust, strict=True)
        between = (f"{percent(low)} – {percent(high, up=True)}" for low, high in shares)
        counts = (f"{row.certificates:,}", f"{row.violations:,}", f"{row.allowed:,}")
        ratio = "–" if math.isnan(row.ratio) else f"{row.ratio:.3f}"
        rows.append((*own, *counts, *between, ratio, f"{row.unbroken:,}"))
    return Table(f"Certified – not broken (%)\n{title}", header, tuple(rows), names=1 + len(norms))


def violated_lines(run: AttackedRun) -> list[str]:
    """One line for each certificate that is violated."""
    return [
        f"image {one.index}: {one.mechanism} claims class {one.prediction} up to {one.radius}, broken at {one.distance}"
        for one in attacks(run)
        if one.violated
    ]


def verdict(figures: Sequence[AttackFigures]) -> str:
    """Whether there are more violations than alpha allows, in one line."""
    if many := [row for row in figures if row.too_many]:
        said = (f"{row.mechanism}: {row.violations:,} of {row.certificates:,}, {row.allowed:,} allowed" for row in many)
        return f"MORE VIOLATIONS THAN ALPHA ALLOWS: {'; '.join(said)}"
    count, certificates = (sum(getattr(row, name) for row in figures) for name in ("violations", "certificates"))
    return f"{count:,} violations of {certificates:,} certificates: no more than alpha allows of any mechanism"


def figures_csv(figures: Sequence[AttackFigures], radii: Sequence[float]) -> str:
    """All figures, unrounded; empty where there are none."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    shares = [f"{name}@{text}" for name in ("certified_accuracy", "not_broken") for text in radius_texts(radii)]
    writer.writerow(["mechanism", "norm", "images", "certificates", "violations", "expected", "allowed", *shares,
                     "median_ratio", "unbroken"])  # fmt: skip
    for row in figures:
        mechanism, norm, *counts, certified, robust, ratio, unbroken = astuple(row)
        ratio = "" if math.isnan(ratio) else ratio
        writer.writerow([csv_text(mechanism), csv_text(norm), *counts, *certified, *robust, ratio, unbroken])
    return file.getvalue()


def images_csv(run: AttackedRun) -> str:
    """Every certificate with what was found about it, image by image; the distance is empty where no point was."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([field.name for field in fields(Attack)])
    for one in attacks(run):
        values = (int(value) if isinstance(value, bool) else value for value in astuple(one))
        writer.writerow([csv_text(value) if isinstance(value, str) else value for value in values])
    return file.getvalue()


def _about(run: AttackedRun) -> str:
    return (
        "Certified: right, with a radius above r, rounded down. Not broken: right, and no point within r was found "
        f"and proved to break it (a proof is wrong with probability at most {run.alpha:g}), rounded up. Between them "
        "lies the share of images that are answered rightly and whose claim holds up to r. Allowed: violations at "
        f"most, with probability {CONFIDENCE:g}, at α = {run.description.spent_alpha:g}."
    )
