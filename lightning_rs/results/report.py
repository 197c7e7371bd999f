"""The end of a certification: a table in the terminal, the same as CSV, and plots."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from lightning_rs.mechanisms import PAIR_RADII
from lightning_rs.results import plots
from lightning_rs.results.records import Record
from lightning_rs.results.simplex import Lead, draw_simplex, leads_on_records, pairs_of
from lightning_rs.results.summary import clean_accuracy, noisy_accuracy, summarize


def write_report(records: Sequence[Record], run: dict[str, Any], radii: Sequence[float], directory: str | Path) -> None:
    """Print the table of certified accuracy and write `table.csv` and the plots into `directory`."""
    directory = Path(directory)
    write_csv(records, radii, directory / "table.csv")
    plots.certified_accuracy(records, title(run), directory / "certified_accuracy.png")
    plots.vote_shares(records, title(run), directory / "vote_shares.png")
    print_table(records, run, radii)
    for smoothing in ("hard", "soft"):
        print_leads(leads_on_records(records, smoothing), smoothing)
    drawn = [name for name in PAIR_RADII if name in run["mechanisms"]]
    if len(drawn) > 2:
        draw_simplex(directory / "simplex.png", drawn, examples=pairs_of(records), title=title(run))
    Console().print(f"Records, table and plots: [bold]{directory}[/bold]", soft_wrap=True)


def title(run: dict[str, Any]) -> str:
    """What was certified, in one line."""
    return (
        f"{run['data']} {run['split']}, {run['architecture']}, σ = {run['sigma']:g}, "
        f"n = {run['n']:,}, α = {run['alpha']:g}"
    )


def print_table(records: Sequence[Record], run: dict[str, Any], radii: Sequence[float]) -> None:
    """Print certified accuracy per mechanism and radius, ACR and abstentions. Nothing is rounded up."""
    table = Table(title=f"Certified accuracy (%)\n{title(run)}", title_style="bold")
    table.add_column("mechanism", no_wrap=True)
    norms = {mechanism: certificate.get("norm", "l2") for mechanism, certificate in records[0].certificates.items()}
    several = set(norms.values()) != {"l2"}
    if several:
        table.add_column("norm")
    for r in radii:
        table.add_column(f"r={r:g}", justify="right")
    table.add_column("ACR", justify="right")
    table.add_column("abstain", justify="right")
    for mechanism, s in summarize(records, radii).items():
        cells = [_percent(s.certified_accuracy[float(r)]) for r in radii]
        cells = [norms[mechanism], *cells] if several else cells
        table.add_row(mechanism, *cells, f"{_floor(s.acr, 4):.4f}", _percent(s.abstention_rate, up=True))
    console = console_for(table)
    console.print()
    console.print(table)
    console.print(
        Text(
            f"{len(records)} images; base classifier: clean accuracy {_percent(clean_accuracy(records))} %, "
            f"accuracy under noise {_percent(noisy_accuracy(records))} %; "
            f"radii and ACR in {'the norm named' if several else 'l2'}, pixels in [0, 1]"
        )
    )
    failures = sum(c.get("fallback", False) for record in records for c in record.certificates.values())
    if failures:
        console.print(Text(f"{failures} radii fell back to simpler ones, because their solver failed"))


def print_leads(rows: Sequence[Lead], smoothing: str) -> None:
    """Print which mechanism certifies most, for which share of the examples, by how much; nothing for two or less."""
    if len(rows) <= 2:
        return
    table = Table(
        title=f"Largest radius among the mechanisms of the {smoothing} smoothed classifier", title_style="bold"
    )
    for column in ("mechanism", "largest or equal (%)", "largest alone (%)", "mean gain over the next (%)"):
        first = column == "mechanism"
        table.add_column(column, justify="left" if first else "right", no_wrap=first)
    for row in rows:
        gain = "" if math.isnan(row.gain) else "certifies alone" if math.isinf(row.gain) else _percent(row.gain)
        table.add_row(row.mechanism, _percent(row.share), _percent(row.alone), gain)
    console_for(table).print(table)


def write_csv(records: Sequence[Record], radii: Sequence[float], path: Path) -> None:
    """One line per mechanism: its certified accuracy at each radius, ACR, abstention rate, number of examples."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(
            ["mechanism", *(f"certified_accuracy@{r:g}" for r in radii), "acr", "abstention_rate", "examples"]
        )
        for mechanism, s in summarize(records, radii).items():
            accuracies = [s.certified_accuracy[float(r)] for r in radii]
            writer.writerow([mechanism, *accuracies, s.acr, s.abstention_rate, len(records)])


def console_for(table: Table) -> Console:
    """A console no narrower than the table: cut off, it would lose figures."""
    return Console(width=max(Console().width, Console(width=10_000).measure(table).maximum))


def _floor(value: float, digits: int) -> float:
    return math.floor(value * 10**digits) / 10**digits


def _percent(share: float, up: bool = False) -> str:
    # Ten digits are more than a share of counts can need; they keep .29 * 100 from becoming 28.9.
    tenths = round(share * 1000, 10)
    return f"{(math.ceil(tenths) if up else math.floor(tenths)) / 10:.1f}"
