"""`certify.py report`: tables and plots of finished certifications."""

from __future__ import annotations

from pathlib import Path

from lightning_rs.checks import check_radii
from lightning_rs.results.comparability import with_common_images
from lightning_rs.results.report import report_runs
from lightning_rs.results.report_directory import ReportDirectory
from lightning_rs.results.sources import column_names, load_runs


def report(
    sources: list[str],
    radii: list[float] | None = None,
    mechanisms: list[str] | None = None,
    names: list[str] | None = None,
    output: str | None = None,
    confidence: float = 0.95,
    common: bool = False,
    data: list[str | None] | str | None = None,
    sigma: float | list[float | None] | None = None,
    n0: int | list[int | None] | None = None,
    n: int | list[int | None] | None = None,
    alpha: float | list[float | None] | None = None,
    norm: list[str | None] | str | None = None,
    column: list[str] | str | None = None,
) -> None:
    """Tables and plots of one or more certifications, side by side where they can be compared.

    What results files do not say themselves, options say: one value for all sources, or a list with one for each in
    order, null where there is nothing to say. The files of a folder are sources by path.

    Args:
        sources: directories of certifications, the field's tab-separated results files, or folders of such files.
        radii: l2 radii of the table in pixel units; chosen to suit sigma when left out.
        mechanisms: those to show; all when left out.
        names: what the sources are called in tables and legends; their folders' names when left out.
        output: directory of tables and plots; `report` in the one directory given, or here, when left out.
        confidence: of the lower limits on the certified accuracy.
        common: count only the images that all sources have.
        data: data set of results files.
        sigma: standard deviation of their noise; when left out, what their paths suggest is shown as a guess.
        n0: draws that selected the class.
        n: draws that certified it.
        alpha: failure probability of each of their certificates.
        norm: of their radii, l2 when left out.
        column: name of the column with their radii, or words such as idx=NAME for any of their columns.
    """
    radii = None if radii is None else check_radii(radii)
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence must lie in (0, 1), got {confidence}")
    said = {"data": data, "sigma": sigma, "n0": n0, "n": n, "alpha": alpha, "norm": norm}
    stated = {key: value for key, value in said.items() if value is not None}
    columns = column_names([column] if isinstance(column, str) else column or [])
    about = {"sources": sources, "names": names, "stated": stated, "columns": columns, "radii": radii}
    about |= {"mechanisms": mechanisms, "confidence": confidence, "common": common}
    parent = Path(sources[0]) if len(sources) == 1 and Path(sources[0]).is_dir() else Path()
    directory = ReportDirectory(output or parent / "report", about)
    runs, notes = load_runs(sources, names, stated, columns)
    if common:
        runs, restricted = with_common_images(runs)
        notes += restricted
    report_runs(runs, directory, radii, mechanisms, confidence, notes)
