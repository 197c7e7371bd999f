"""Where the runs of a report come from: directories of certifications, the field's results files, folders of those."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from lightning_rs.checks import check_alpha, check_at_least, check_known, check_sigma
from lightning_rs.results.comparability import merged
from lightning_rs.results.plots import NORMS
from lightning_rs.results.runs import Run, open_directory, run_of_records
from lightning_rs.results.tsv import COLUMNS, NoResultsError, is_log, read_tsv

UNNAMED = "as published"
"""The mechanism of a results file, which does not name it; other norms than l2 are part of it."""

# What a reader can say of a results file, and what it is checked by.
_STATED = {
    "data": str,
    "sigma": check_sigma,
    "n0": lambda n0: check_at_least("n0", n0, 0),
    "n": lambda n: check_at_least("n", n, 1),
    "alpha": check_alpha,
    "norm": lambda norm: check_known("norm", norm, NORMS),
}
# As in sigma_0.50, sigma0.25 and noise_1.00. The noise of the training comes before that of the certification.
_IN_PATH = re.compile(r"(?<![a-z])(sigma|noise(?:_sd)?)[_=-]?(\d?\.\d+|\d)(?!\d)", re.ASCII | re.IGNORECASE)
_MOST_FILES = 10_000


def load_runs(
    paths: Sequence[str | Path],
    names: Sequence[str] | None = None,
    stated: Mapping[str, Any] | None = None,
    columns: Mapping[str, str] | None = None,
) -> tuple[list[Run], list[str]]:
    """Several runs, whose names all differ, and what to say of the sources without any.

    A folder that is no certification stands for all the field's logs in it, by path. Of several sources, those that
    hold no results are left out with a remark.

    Args:
        paths: directories of certifications, results files, folders of them.
        names: of the sources; those of their folders or files when left out.
        stated: what results files do not say themselves: `data`, `sigma`, `n0`, `n`, `alpha` or `norm` to one value,
            or to a list with one for each source, with None where there is nothing to say.
        columns: of the columns of results files to what those files call them, where it is another name.

    Raises:
        ValueError: no source or none with results, names or values that do not fit in number, names that repeat, and
            as `load_run`.
    """
    sources = [source for path in paths for source in _sources(Path(path))]
    if not sources:
        raise ValueError("give one or more directories or results files")
    if names is None:
        names = _names(sources)
    elif len(names) != len(sources) or len(set(names)) < len(names):
        raise ValueError(f"names must be {len(sources)} different ones, one for each source, got {list(names)}")
    runs, skipped = [], []
    for path, name, own in zip(sources, names, _of_each(stated or {}, len(sources)), strict=True):
        try:
            runs.append(load_run(path, name, own, columns))
        except NoResultsError as error:
            if len(sources) == 1:
                raise
            skipped.append((name, f"left out, {error.reason}"))
    if not runs:
        raise ValueError(f"none of {len(sources)} sources has results; {'; '.join(merged(skipped))}")
    return runs, merged(skipped)


def load_run(
    path: str | Path,
    name: str | None = None,
    stated: Mapping[str, Any] | None = None,
    columns: Mapping[str, str] | None = None,
) -> Run:
    """The run in a directory, or in a results file.

    Args:
        path: of the directory or the file.
        name: what the run is called; as the folder or file when left out.
        stated: as for `load_runs`, for this one source.
        columns: as for `load_runs`.

    Raises:
        FileNotFoundError: nothing there.
        ValueError: a directory without a run or without records, or of a run that says something else than is stated;
            a file that is not in the field's form.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"no results at {path}")
    name = name or name_of(path)
    (stated,) = _of_each(stated or {}, 1)
    if not path.is_dir():
        return _published(path, name, stated, columns)
    stored = open_directory(path)
    run = run_of_records(stored, stored.run, name, stored.environments)
    run = replace(run, notes=(*run.notes, *stored.notes))
    for key, value in stated.items():
        said = {run.norm(m) for m in run.certificates} if key == "norm" else {run.said(key)}
        if said != {value}:
            own = ", ".join(map(str, sorted(said)))
            raise ValueError(f"{path} says its {key} itself, {own}: give {value} only to the sources that do not")
    return run


def column_names(words: Iterable[str]) -> dict[str, str]:
    """Column to its name in a file, of words such as `idx=original_idx`; a word alone is the name of the radius.

    Raises:
        ValueError: none of the columns, or one that comes twice.
    """
    found: dict[str, str] = {}
    for word in words:
        column, _, name = word.partition("=") if "=" in word else ("radius", "", word)
        if check_known("column", column, COLUMNS) in found:
            raise ValueError(f"the name of the column {column} is given twice")
        found[column] = name.strip()
    return found


def published(norm: str) -> str:
    """The mechanism of a results file with radii in this norm."""
    return UNNAMED if norm == "l2" else f"{UNNAMED}, {norm}"


def name_of(path: Path) -> str:
    """The name of the folder or file; of a training's own certification, the name of the training."""
    path = path.resolve()
    return path.parent.name if path.name == "certification" else re.sub(r"\.(tsv|txt|log)$", "", path.name)


def _published(path: Path, name: str, stated: dict[str, Any], columns: Mapping[str, str] | None) -> Run:
    results = read_tsv(path, columns)
    norm = stated.get("norm", "l2")
    guess = None if "sigma" in stated else guessed_sigma(path)
    notes = [f"if its radii were rounded to nearest, they exceed the certificates by up to {results.rounding:g}"]
    notes.append("its noise is not said: presumably its certificates assume real arithmetic")
    if guess is not None:
        notes.append(f"σ = {guess:g} is a guess from its path; --sigma says it")
    if not results.header:
        notes.append(f"no line names its columns, they were taken for {' '.join(COLUMNS)}")
    if results.uncertified:
        notes.append("it has radii of -1, which were taken for abstentions")
    if results.wrong_correct:
        notes.append("some entries of its column correct are wrong, so all were computed from predict and label")
    order = np.argsort(results.index)
    return Run(
        name=name,
        description=None,
        index=results.index[order],
        label=results.label[order],
        certificates={published(norm): (results.prediction[order], results.radius[order])},
        norms={} if norm == "l2" else {published(norm): norm},
        notes=tuple(notes),
        stated={key: value for key, value in stated.items() if key != "norm"},
        guess=guess,
    )


def guessed_sigma(path: Path) -> float | None:
    """Standard deviation of the noise that a path seems to name, the last sigma before any other noise."""
    found = [(kind.lower(), float(number)) for kind, number in _IN_PATH.findall(str(path)) if float(number) > 0]
    return next((number for kind, number in reversed(found) if kind == "sigma"), found[-1][1] if found else None)


def _sources(path: Path) -> Iterator[Path]:
    """The path, or the logs in it if it is a folder of such."""
    if not path.is_dir() or (path / "run.json").exists() or any(path.glob("records-*.jsonl")):
        yield path
        return
    files = list(islice(_files(path), _MOST_FILES + 1))
    if len(files) > _MOST_FILES:
        raise ValueError(f"{path} holds more than {_MOST_FILES:,} files: name those with results")
    logs = sorted(file for file in files if is_log(file))
    if not logs:
        raise ValueError(f"{path} is not the directory of a certification: it holds no run.json, and no results files")
    yield from logs


def _files(path: Path) -> Iterator[Path]:
    """All files below a folder but those of certifications and reports."""
    for folder, inner, files in os.walk(path):
        if {"run.json", "report.json"} & set(files):
            inner.clear()
        else:
            inner[:] = [name for name in inner if not name.startswith(".")]
            yield from (Path(folder, name) for name in files if not name.startswith("."))


def _names(sources: Sequence[Path]) -> list[str]:
    """Short names, all different: of the files, or with the folders that they do not share."""
    names = [name_of(path) for path in sources]
    if len(set(names)) == len(names):
        return names
    whole = [os.path.abspath(path) for path in sources]
    if len(set(whole)) < len(whole):
        double = sorted({str(path) for path, name in zip(sources, whole, strict=True) if whole.count(name) > 1})
        raise ValueError(f"a source is given twice: {', '.join(double)}")
    return [os.path.relpath(path, os.path.commonpath(whole)) for path in whole]


def _of_each(stated: Mapping[str, Any], count: int) -> list[dict[str, Any]]:
    """What is stated of each source."""
    found: list[dict[str, Any]] = [{} for _ in range(count)]
    for key, given in stated.items():
        values = given if isinstance(given, (list, tuple)) else [given] * count
        if len(values) != count:
            raise ValueError(f"{key} must be one value, or {count}, one for each source in order, got {len(values)}")
        for own, value in zip(found, values, strict=True):
            if value is not None:
                own[key] = _STATED[check_known("statement", key, _STATED)](value)
    return found
