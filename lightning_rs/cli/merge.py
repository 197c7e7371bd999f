"""`certify.py merge`: one certification of several shards."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from lightning_rs.certification.merge import merge_directories, run_of_all
from lightning_rs.checks import check_radii
from lightning_rs.cli.remarks import say
from lightning_rs.results import RunDirectory
from lightning_rs.results.columns import Columns
from lightning_rs.results.figures import default_radii
from lightning_rs.results.report import report_run
from lightning_rs.results.runs import run_of_columns


def merge(directories: list[str], output: str | None = None, radii: list[float] | None = None) -> None:
    """Merge directories of one certification, such as its shards, into one.

    Which images are missing is said in a line; certify.py with the same output goes on with them.

    Args:
        directories: of certifications that are of one run but for shards and environments, finished or not.
        output: directory of the merged records and their report, which may be the one in which the shards lie; what it
            holds of the run already counts too.
        radii: l2 radii of the table in pixel units; chosen to suit sigma when left out.
    """
    if output is None:
        raise ValueError("merge writes into a directory that is named: give --output DIR")
    radii = None if radii is None else check_radii(radii)
    run = run_of_all(directories)
    target = RunDirectory(output)
    target.check(run)
    columns = Columns()
    with target.locked():
        target.check(run)
        among = target.path.resolve() in {Path(path).resolve() for path in directories}
        merged = merge_directories(directories if among or target.run() is None else [*directories, output])
        if not merged.parts:
            raise ValueError(f"{', '.join(directories)}: no examples are finished in any of them")
        target.create(merged.run)
        target.replace(columns.gather(merged), merged.origins)
    made = dict(Counter(merged.origins.values()))
    report_run(
        run_of_columns(columns, merged.run, target.path.name, made),
        radii or default_radii(merged.run.sigma),
        target.path,
    )
    for note in merged.notes:
        say(note)
    if merged.missing:
        say(f"warning: {merged.missing}; certify.py with --output {target.path} goes on with them")
