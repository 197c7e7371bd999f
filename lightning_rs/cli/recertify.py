"""`certify.py recertify`: certify again from the stored votes."""

from __future__ import annotations

from pathlib import Path

from lightning_rs.certification import recertified_run
from lightning_rs.checks import check_radii
from lightning_rs.cli.remarks import say
from lightning_rs.results import RunDirectory
from lightning_rs.results.columns import Columns
from lightning_rs.results.figures import default_radii
from lightning_rs.results.recomputation import held_fields, recompute
from lightning_rs.results.report import report_run
from lightning_rs.results.runs import open_directory, run_of_columns


def recertify(
    directory: str,
    alpha: float | None = None,
    mechanisms: list[str] | None = None,
    attempts: int | None = None,
    radii: list[float] | None = None,
    output: str | None = None,
) -> None:
    """Certify the records of a directory again, without sampling: other alpha, mechanisms or radii.

    Args:
        directory: of a certification.
        alpha: failure probability of each certificate, or of those of all attempts; the run's when left out.
        mechanisms: names of mechanisms, with options if any; the run's when left out.
        attempts: number of certifications, these included, among which you may choose after looking, one mechanism of
            each; each spends alpha / attempts. The run's when left out.
        radii: l2 radii of the table in pixel units; chosen to suit sigma when left out.
        output: directory of the new records and their report; made inside the first when left out.
    """
    radii = None if radii is None else check_radii(radii)
    records = open_directory(directory)
    # All hold what the first one holds, or are refused when it is their turn.
    about, chosen = recertified_run(held_fields(records[:1], records.run), records.run, alpha, mechanisms, attempts)
    target = RunDirectory(output or Path(directory) / f"alpha{about.alpha:g}-{about.digest[:8]}")
    if target.path.resolve() == Path(directory).resolve():
        raise ValueError(f"output must be another directory than {directory}, whose records stay as they are")
    target.check(about)
    columns = Columns()
    with target.locked():
        target.check(about)
        others = set((target.stored() or records).indices).difference(records.indices)
        if others:
            raise ValueError(f"{target.path} holds {len(others)} examples that {directory} lacks: name another output")
        target.create(about)
        again = recompute(records, records.run, about.spent_alpha, chosen)
        target.replace(columns.gather(again), records.origins)
    run = run_of_columns(columns, about, target.path.name, records.environments)
    report_run(run, radii or default_radii(about.sigma), target.path)
    for note in records.notes:  # They hold for what was made of them, too.
        say(f"{directory}: {note}")
