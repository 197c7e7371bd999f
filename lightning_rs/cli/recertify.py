"""`certify.py recertify`: certify again from the stored votes."""

from __future__ import annotations

from pathlib import Path

from lightning_rs.certification import recertify as recertify_records
from lightning_rs.checks import check_radii
from lightning_rs.cli.remarks import say
from lightning_rs.results import RunDirectory
from lightning_rs.results.figures import default_radii
from lightning_rs.results.report import write_report
from lightning_rs.results.runs import read_directory


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
    records, run, notes = read_directory(directory)
    again, about = recertify_records(records, run, alpha, mechanisms, attempts)
    target = RunDirectory(output or Path(directory) / f"alpha{about.alpha:g}-{about.digest[:8]}")
    if target.path.resolve() == Path(directory).resolve():
        raise ValueError(f"output must be another directory than {directory}, whose records stay as they are")
    target.check(about)
    with target.locked():
        target.check(about)
        others = {record.index for record in target.read()} - {record.index for record in again}
        if others:
            raise ValueError(f"{target.path} holds {len(others)} examples that {directory} lacks: name another output")
        target.create(about)
        target.replace(again, RunDirectory(directory).origins())
    write_report(again, about, radii or default_radii(about.sigma), target.path)
    for note in notes:  # They hold for what was made of them, too.
        say(f"{directory}: {note}")
