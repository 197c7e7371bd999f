"""Commands on finished certifications: `python certify.py report ...` and `python certify.py recertify ...`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from lightning_rs.certification.recertify import recertify as recertify_records
from lightning_rs.checks import check_known, check_radii
from lightning_rs.cli import CertifyParser, clean_exit
from lightning_rs.results import RunDirectory
from lightning_rs.results.figures import default_radii
from lightning_rs.results.report import report_runs, write_report
from lightning_rs.results.runs import load_runs, read_directory


def report(
    sources: list[str],
    radii: list[float] | None = None,
    mechanisms: list[str] | None = None,
    names: list[str] | None = None,
    output: str | None = None,
    confidence: float = 0.95,
) -> None:
    """Tables and plots of one or more certifications, side by side where they can be compared.

    Args:
        sources: directories of certifications, or the field's tab-separated results files.
        radii: l2 radii of the table in pixel units; chosen to suit sigma when left out.
        mechanisms: those to show; all when left out.
        names: what the sources are called in tables and legends; their folders' names when left out.
        output: directory of tables and plots; `report` in the one directory given, or here, when left out.
        confidence: of the lower limits on the certified accuracy.
    """
    with clean_exit():
        radii = None if radii is None else check_radii(radii)
        if not 0.0 < confidence < 1.0:
            raise ValueError(f"confidence must lie in (0, 1), got {confidence}")
        runs = load_runs(sources, names)
        parent = Path(sources[0]) if len(sources) == 1 and Path(sources[0]).is_dir() else Path()
        report_runs(runs, output or parent / "report", radii, mechanisms, confidence)


def recertify(
    directory: str,
    alpha: float | None = None,
    mechanisms: list[str] | None = None,
    radii: list[float] | None = None,
    output: str | None = None,
) -> None:
    """Certify the records of a directory again, without sampling: other alpha, mechanisms or radii.

    Args:
        directory: of a certification.
        alpha: failure probability of each certificate; the run's when left out.
        mechanisms: names of mechanisms, with options if any; the run's when left out.
        radii: l2 radii of the table in pixel units; chosen to suit sigma when left out.
        output: directory of the new records and their report; made inside the first when left out.
    """
    with clean_exit():
        radii = None if radii is None else check_radii(radii)
        records, run = read_directory(directory)
        again, about = recertify_records(records, run, alpha, mechanisms)
        target = RunDirectory(output or Path(directory) / f"alpha{about.alpha:g}-{about.digest[:8]}")
        if target.path.resolve() == Path(directory).resolve():
            raise ValueError(f"output must be another directory than {directory}, whose records stay as they are")
        target.check(about)
        others = {record.index for record in target.read()} - {record.index for record in again}
        if others:
            raise ValueError(f"{target.path} holds {len(others)} examples that {directory} lacks: name another output")
        target.create(about)
        target.replace(again)
        write_report(again, about, radii or default_radii(about.sigma), target.path)


COMMANDS: dict[str, tuple[Callable[..., None], str, dict[str, str]]] = {
    "report": (report, "sources", {"nargs": "+", "help": "Directories of certifications, or results files (TSV)."}),
    "recertify": (recertify, "directory", {"help": "Directory of a certification."}),
}
"""Name to function and its positional argument."""


def run_command(arguments: Sequence[str]) -> None:
    """Run the command that the first argument names with the others."""
    with clean_exit():
        name = check_known("command", arguments[0], COMMANDS)
    function, positional, options = COMMANDS[name]
    description = (function.__doc__ or "").strip().split("\n")[0]
    parser = CertifyParser(prog=f"certify.py {name}", description=description)
    parser.add_argument(positional, type=str, **options)
    parser.add_function_arguments(function, skip={positional}, as_group=False)
    function(**parser.parse_args(list(arguments[1:])).as_dict())
