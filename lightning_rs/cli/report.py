"""`certify.py report`: tables and plots of finished certifications."""

from __future__ import annotations

from pathlib import Path

from lightning_rs.checks import check_radii
from lightning_rs.results.report import report_runs
from lightning_rs.results.runs import load_runs


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
    radii = None if radii is None else check_radii(radii)
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence must lie in (0, 1), got {confidence}")
    runs = load_runs(sources, names)
    parent = Path(sources[0]) if len(sources) == 1 and Path(sources[0]).is_dir() else Path()
    report_runs(runs, output or parent / "report", radii, mechanisms, confidence)
