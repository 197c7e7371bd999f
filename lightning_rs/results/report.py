"""Reports: what is printed and written at the end of a certification, and for several runs side by side."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from lightning_rs.files import write_whole
from lightning_rs.mechanisms import PAIR_RADII
from lightning_rs.results import plots
from lightning_rs.results.comparability import comparable_groups, merged, remarks
from lightning_rs.results.description import RunDescription, alpha_title
from lightning_rs.results.directory import RunDirectory
from lightning_rs.results.escaping import markdown, one_line, tex_comment
from lightning_rs.results.figures import clean_accuracy, default_radii, envelopes, figures, noisy_accuracy
from lightning_rs.results.mechanism_comparison import (
    NO_JOINT_GUARANTEE,
    Lead,
    draw_simplex,
    leads_on_run,
)
from lightning_rs.results.radius_text import radius_texts
from lightning_rs.results.records import Record
from lightning_rs.results.report_directory import ReportDirectory
from lightning_rs.results.runs import Run, run_of_records
from lightning_rs.results.sources import published
from lightning_rs.results.tables import (
    Table,
    accuracy_table,
    envelope_csv,
    envelope_table,
    limit_table,
    percent,
    share_table,
    to_csv,
    to_latex,
    to_markdown,
    to_rich,
)
from lightning_rs.results.tsv import file_name, write_tsv

UNITS = "radii in l2 where no other norm is named, pixels in [0, 1]; wrong and abstained images count as radius 0"
LEGACY = "ACR, the average certified radius, is kept for comparison with older work"


def write_report(
    records: Iterable[Record], description: RunDescription, radii: Sequence[float], directory: str | Path
) -> None:
    """The report of one run, see `report_run`; nothing without records.

    Where the records were made is told if they are in the directory.
    """
    directory = Path(directory)
    environments = RunDirectory(directory).environments()
    report_run(run_of_records(records, description, directory.name, environments), radii, directory)


def report_run(run: Run, radii: Sequence[float], directory: str | Path) -> None:
    """Print the table of certified accuracy, and write tables, plots and the field's files into `directory`."""
    directory = Path(directory)
    if not len(run):
        return
    for mechanism in run.certificates:
        write_tsv(run, mechanism, directory / "tsv" / file_name(mechanism))
    _write_tables([run], radii, directory, run.description.title)
    _plot_run(run, list(run.certificates), directory)
    print_table(run, radii)
    for smoothing in ("hard", "soft"):
        print_leads(leads_on_run(run, smoothing), smoothing)
    drawn = [name for name in PAIR_RADII if name in run.certificates]
    if len(drawn) > 2:
        draw_simplex(directory / "simplex.png", drawn, examples=(run.share, run.rival), title=run.description.title)
    show_directory("Records, table and plots", directory)


def report_runs(
    runs: Sequence[Run],
    report: ReportDirectory,
    radii: Sequence[float] | None = None,
    mechanisms: Sequence[str] | None = None,
    confidence: float = 0.95,
    notes: Sequence[str] = (),
) -> None:
    """Print and write tables and plots of several runs, those that can be compared side by side.

    Runs that differ in images, n, n0, alpha, data or split get tables of their own, and a line says what differs.

    Args:
        runs: one or more, see `load_runs`.
        report: where tables (Markdown, LaTeX, CSV) and plots (PNG, SVG) go.
        radii: l2 radii of the columns; chosen to suit the sigmas when left out.
        mechanisms: those to show; all when left out.
        confidence: of the lower limits.
        notes: what there is to say beside what the runs and their differences say.

    Raises:
        ValueError: a mechanism that no run has.
    """
    known = list(dict.fromkeys(m for run in runs for m in run.certificates))
    unknown = [m for m in mechanisms or () if m not in known]
    if unknown:
        raise ValueError(f"no run holds {', '.join(unknown)}; there are {', '.join(known)}")
    radii = tuple(radii or _radii(runs))
    report.begin()
    directory = report.path
    groups = comparable_groups(runs)
    notes = [*notes, *remarks(runs), *merged((run.name, note) for run in runs for note in run.notes)]
    notes += merged(standing_at(runs, radii, mechanisms))
    for number, group in enumerate(groups, start=1):
        folder = directory if len(groups) == 1 else directory / f"group-{number}"
        folder.mkdir(exist_ok=True)
        heading = _heading(group)
        shown = [
            m for m in known if (not mechanisms or m in mechanisms) and any(m in run.certificates for run in group)
        ]
        if not shown:
            notes.append(f"{', '.join(run.name for run in group)}: none of {', '.join(mechanisms or ())}")
            continue
        tables = _write_tables(group, radii, folder, heading, shown, confidence, notes)
        for table in tables:
            show_table(table)
        _plot_group(group, shown, folder, heading)
    report.finish()
    for line in (f"{UNITS}. {LEGACY}.", _about_limits(confidence), *notes):
        Console().print(Text(one_line(line)), soft_wrap=True)
    show_directory("Tables and plots", directory)


def print_table(run: Run, radii: Sequence[float]) -> None:
    """Print certified accuracy per mechanism and radius with the figures beside it. Nothing is rounded up."""
    heading = f"Certified accuracy (%)\n{run.description.title}"
    show_table(accuracy_table(figures(run, radii), radii, heading, single=True))
    Console().print(
        Text(
            f"{len(run)} images; base classifier: clean accuracy {percent(clean_accuracy(run))} %, "
            f"accuracy under noise {percent(noisy_accuracy(run))} %; {UNITS}"
        ),
        soft_wrap=True,
    )
    for note in merged((run.name, note) for note in run.notes):
        Console().print(Text(one_line(note)), soft_wrap=True)


def print_leads(rows: Sequence[Lead], smoothing: str) -> None:
    """Print which mechanism certifies most, for which share of the examples, by how much; nothing for two or less."""
    if len(rows) <= 2:
        return
    header = ("mechanism", "largest or equal (%)", "largest alone (%)", "mean gain over the next (%)")
    cells = []
    for row in rows:
        gain = "" if row.gain != row.gain else "certifies alone" if row.gain == float("inf") else percent(row.gain)
        cells.append((row.mechanism, percent(row.share), percent(row.alone), gain))
    name = f"Largest radius among the mechanisms of the {smoothing} smoothed classifier"
    show_table(Table(name, header, tuple(cells)))
    Console().print(Text(NO_JOINT_GUARANTEE), soft_wrap=True)


def standing_at(
    runs: Sequence[Run], radii: Sequence[float], mechanisms: Sequence[str] | None = None
) -> Iterator[tuple[str, str]]:
    """Run, and how many of its images stand exactly at the radii: published tables often count them, ours do not."""
    texts = radius_texts(radii)
    for run in runs:
        for row in figures(run, radii, mechanisms):
            there = [f"{count:,} at {text}" for count, text in zip(row.standing, texts, strict=True) if count]
            if there:
                yield (
                    run.name,
                    f"images that {row.mechanism} certifies with a radius of exactly r: {', '.join(there)}; tables of "
                    "R ≥ r count them, R > r does not",
                )


def _write_tables(
    runs: Sequence[Run],
    radii: Sequence[float],
    directory: Path,
    heading: str,
    mechanisms: Sequence[str] | None = None,
    confidence: float = 0.95,
    notes: Sequence[str] = (),
) -> list[Table]:
    """Write `table.csv`, `table.md` and `table.tex`; return the tables."""
    by_sigma = sorted(runs, key=lambda run: math.inf if run.sigma is None else run.sigma)
    rows = [row for run in by_sigma for row in figures(run, radii, mechanisms, confidence)]
    tables = [accuracy_table(rows, radii, f"Certified accuracy (%)\n{heading}")]
    if any(limit == limit for row in rows for limit in row.limit):
        tables.append(limit_table(rows, radii, confidence))
    if found := envelopes(rows):
        tables.append(envelope_table(found, radii))
        write_whole(directory / "envelope.csv", envelope_csv(found, radii))
    tables += filter(None, [share_table(runs)])
    write_whole(directory / "table.csv", to_csv(rows, radii))
    remarks_below = [f"{UNITS}.", f"{LEGACY}.", _about_limits(confidence), *notes]
    below = "".join(f"- {markdown(line)}\n" for line in remarks_below)
    write_whole(directory / "table.md", "\n".join([*map(to_markdown, tables), below]))
    above = "".join(map(tex_comment, remarks_below))
    write_whole(directory / "table.tex", above + "\n".join(map(to_latex, tables)))
    return tables


def _plot_run(run: Run, mechanisms: Sequence[str], directory: Path) -> None:
    heading = run.description.title
    radii = {m: run.certified_radius(m) for m in mechanisms}
    norms = {run.norm(m) for m in mechanisms}
    norm = norms.pop() if len(norms) == 1 else "each mechanism's"
    plots.certified_accuracy(radii, heading, directory / "certified_accuracy.png", norm=norm)
    plots.share_ecdf([run], heading, directory / "p_a.png")
    if run.sequential:
        plots.draws_ecdf([run], heading, directory / "draws.png")
    plots.radius_confidence(run, mechanisms, heading, directory / "radius_confidence.png")


def _plot_group(runs: Sequence[Run], mechanisms: Sequence[str], directory: Path, heading: str) -> None:
    """One run: by mechanism. Several: by run for each mechanism that two have, and by sigma with the envelope."""
    if len(runs) == 1 and runs[0].share is not None:
        _plot_run(runs[0], [m for m in mechanisms if m in runs[0].certificates], directory)
        return
    known = [run for run in runs if run.share is not None]
    if known:
        plots.share_ecdf(known, heading, directory / "p_a.png")
    if any(run.sequential for run in known):
        plots.draws_ecdf(known, heading, directory / "draws.png")
    sigmas = {run.sigma for run in runs} - {None}
    silent = [run for run in runs if run.sigma is None]
    for sigma in sigmas or {None}:
        # A results file does not say its sigma: it stands beside the runs of the only one there is.
        same = [run for run in runs if run.sigma == sigma] + (silent if len(sigmas) == 1 else [])
        suffix = f"-sigma{sigma:g}" if len(sigmas) > 1 else ""
        for mechanism in mechanisms:
            radii = _radii_by_run(same, mechanism)
            if radii and (len(radii) > 1 or len(runs) == 1):
                path = directory / f"runs{suffix}-{Path(file_name(mechanism)).stem}.png"
                norm = next(run.norm(mechanism) for run in same if run.name in radii)
                plots.certified_accuracy(radii, f"{heading}, {mechanism}", path, legend="run", norm=norm)
    by_sigma = sorted((run for run in runs if run.sigma is not None), key=lambda run: run.sigma)
    for mechanism in mechanisms:
        having = [run for run in by_sigma if mechanism in run.certificates]
        if len({run.sigma for run in having}) > 1:
            radii = {_sigma_label(run, by_sigma): run.certified_radius(mechanism) for run in having}
            path = directory / f"sigmas-{Path(file_name(mechanism)).stem}.png"
            name, norm = f"{heading}, {mechanism}", having[0].norm(mechanism)
            plots.certified_accuracy(radii, name, path, legend="noise", envelope=True, norm=norm)


def _radii_by_run(runs: Sequence[Run], mechanism: str) -> dict[str, Any]:
    """Run to radii, of the runs with the mechanism; beside them those that name none, if there are any with it."""
    having = [run for run in runs if mechanism in run.certificates]
    # In one norm. A directory has no mechanism of this name, and a results file no other.
    beside = published(having[0].norm(mechanism)) if having else mechanism
    radii = {run.name: run.certified_radius(mechanism) for run in having}
    return radii | {run.name: run.certified_radius(beside) for run in runs if beside in run.certificates}


def _sigma_label(run: Run, runs: Sequence[Run]) -> str:
    text = f"σ = {run.sigma:g}"
    alone = sum(text == f"σ = {other.sigma:g}" for other in runs) == 1  # As they read: curves go by their labels.
    return text + "?" * run.guessed + ("" if alone else f", {run.name}")


def _heading(runs: Sequence[Run]) -> str:
    """What all runs of a group have in common."""
    # Of these the runs of a group that say them say the same.
    data, split, n, alpha, attempts = (next((said for run in runs if (said := run.said(key)) is not None), None)
                                       for key in ("data", "split", "n", "alpha", "attempts"))  # fmt: skip
    # What a results file does not say is not in common.
    same = {key: values[0] for key in ("architecture", "noise", "quantized", "sigma")
            if len(set(values := [run.said(key) for run in runs])) == 1}  # fmt: skip
    parts = [" ".join(filter(None, (data, split))), f"{len(runs[0]):,} images", same.get("architecture")]
    if same.get("sigma") is not None:
        told = same.get("noise") is not None and "quantized" in same
        parts.append(runs[0].description.noise_title if told else f"σ = {same['sigma']:g}")
    parts += [f"n = {n:,}" if n else None, alpha_title(alpha, attempts or 1) if alpha else None]
    return ", ".join(filter(None, parts))


def _radii(runs: Sequence[Run]) -> tuple[float, ...]:
    sigmas = sorted({run.sigma for run in runs if run.sigma is not None})
    chosen = {radius for sigma in sigmas for radius in default_radii(sigma)}
    return tuple(sorted(chosen)) or (0.0, 0.25, 0.5, 0.75, 1.0)


def _about_limits(confidence: float) -> str:
    return (
        f"Lower limits hold each by itself with probability {confidence:g} over images and noise, if the images are a "
        "random sample: Clopper-Pearson over the images, less α, as each certificate may be wrong with probability α. "
        "Where α is spent over several attempts, each has its share of both, so that one may be chosen after looking."
    )


def show_directory(what: str, path: Path) -> None:
    """Print where something was written."""
    Console().print(Text.assemble(f"{what}: ", (one_line(str(path)), "bold")), soft_wrap=True)


def show_table(table: Table) -> None:
    """Print a table, however wide."""
    rich = to_rich(table)
    console = console_for(rich)
    console.print()
    console.print(rich)


def console_for(table: Any) -> Console:
    """A console no narrower than the table: cut off, it would lose figures."""
    return Console(width=max(Console().width, Console(width=10_000).measure(table).maximum))
