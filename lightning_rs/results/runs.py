"""What a report is made of: one certification, from its directory or from a results file of the field."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lightning_rs.results.description import RunDescription
from lightning_rs.results.directory import RunDirectory
from lightning_rs.results.records import Record, certificates_of
from lightning_rs.results.tsv import read_tsv

UNNAMED = "as published"
"""The mechanism of a results file, which does not name it."""

REAL_ARITHMETIC = (
    "noise was added in floating point, so its certificates assume real arithmetic; those under grid_gaussian noise "
    "hold for the program as it runs"
)


@dataclass(frozen=True)
class Run:
    """One certification of B examples, by index.

    Attributes:
        name: what it is called in tables and legends.
        description: what it is of and how it was made; None of a results file, which does not say.
        index, label: (B,) int64.
        certificates: mechanism to predictions and radii, (B,) each.
        clean: (B,) bool, whether the base classifier is right without noise; None where it is not known.
        noisy: (B,) float64, share of noisy copies that it gets right; None where it is not known.
        share: (B,) float64, share of votes of the selected class, the estimate of p_A; None where it is not known.
        votes: (B,) number of estimation draws; None where it is not known.
        norms: mechanism to the norm of its radii, where that is not l2.
        notes: what a reader of its figures has to know.
    """

    name: str
    description: RunDescription | None
    index: NDArray[np.int64]
    label: NDArray[np.int64]
    certificates: dict[str, tuple[NDArray[np.int64], NDArray[np.float64]]]
    clean: NDArray[np.bool_] | None = None
    noisy: NDArray[np.float64] | None = None
    share: NDArray[np.float64] | None = None
    votes: NDArray[np.float64] | None = None
    norms: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = field(default=())

    @property
    def sigma(self) -> float | None:
        return None if self.description is None else self.description.sigma

    @property
    def finished(self) -> bool:
        """Whether all examples that were asked for are there."""
        return not self.missing

    @property
    def missing(self) -> int:
        """How many of the examples that were asked for are not there."""
        asked = self.description.indices if self.description else None
        return len(set(asked or ()).difference(self.index.tolist()))

    @property
    def sequential(self) -> bool:
        """Whether images differ in how many draws they needed."""
        return self.votes is not None and len(np.unique(self.votes)) > 1

    def norm(self, mechanism: str) -> str:
        """The norm of a mechanism's radii."""
        return self.norms.get(mechanism, "l2")

    def __len__(self) -> int:
        return len(self.index)

    def certified_radius(self, mechanism: str) -> NDArray[np.float64]:
        """(B,) radii, 0 where the prediction is wrong or missing."""
        prediction, radius = self.certificates[mechanism]
        return np.where(prediction == self.label, radius, 0.0)


def run_of_records(records: Sequence[Record], description: RunDescription, name: str) -> Run:
    """The run of these records; without any, a run without mechanisms."""
    records = sorted(records, key=lambda record: record.index)
    votes = np.array([sum(r.counts.values()) for r in records], dtype=np.float64)
    first = records[0].certificates if records else {}
    run = Run(
        name=name,
        description=description,
        index=np.array([r.index for r in records], dtype=np.int64),
        label=np.array([r.label for r in records], dtype=np.int64),
        certificates={m: certificates_of(records, m)[:2] for m in first},
        clean=np.array([r.clean_prediction == r.label for r in records], dtype=np.bool_),
        noisy=np.array([r.counts.get(r.label, 0) for r in records]) / votes,
        share=np.array([r.counts.get(r.selected, 0) for r in records]) / votes,
        votes=votes,
        norms={m: c.norm for m, c in first.items() if c.norm != "l2"},
    )
    notes = []
    if description.assumes_real_arithmetic:
        notes.append(f"{name}: {REAL_ARITHMETIC}")
    if description.quantized:
        notes.append(f"{name}: what is certified are the images rounded to the grid, not those of the data set")
    if run.missing:
        notes.append(f"{name} is not finished: {run.missing} of {len(description.indices)} examples are missing")
    failures = sum(bool(c.fallback) for record in records for c in record.certificates.values())
    if failures:
        notes.append(f"{name}: {failures} radii fell back to simpler ones, because their solver failed")
    return replace(run, notes=tuple(notes))


def load_run(path: str | Path, name: str | None = None) -> Run:
    """The run in a directory, or in a results file.

    Raises:
        FileNotFoundError: nothing there.
        ValueError: a directory without a run or without records, or a file that is not in the field's form.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"no results at {path}")
    name = name or name_of(path)
    if path.is_dir():
        records, description, notes = _examine(path)
        run = run_of_records(records, description, name)
        return replace(run, notes=(*run.notes, *(f"{name}: {note}" for note in notes)))
    results = read_tsv(path)
    order = np.argsort(results.index)
    notes = [
        f"{name}: if its radii were rounded to nearest, they exceed the certificates by up to {results.rounding:g}"
    ]
    notes.append(f"{name} does not say its noise: presumably its certificates assume real arithmetic")
    if results.wrong_correct:
        notes.append(f"{name}: {results.wrong_correct} entries of the column correct were wrong and recomputed")
    return Run(
        name=name,
        description=None,
        index=results.index[order],
        label=results.label[order],
        certificates={UNNAMED: (results.prediction[order], results.radius[order])},
        notes=tuple(notes),
    )


def load_runs(paths: Sequence[str | Path], names: Sequence[str] | None = None) -> list[Run]:
    """Several runs, whose names all differ.

    Raises:
        ValueError: no path, names that repeat or do not fit in number, and as `load_run`.
    """
    if not paths:
        raise ValueError("give one or more directories or results files")
    if names is not None and (len(names) != len(paths) or len(set(names)) < len(names)):
        raise ValueError(f"names must be {len(paths)} different ones, one for each source, got {list(names)}")
    given = list(names) if names is not None else [name_of(Path(path)) for path in paths]
    if len(set(given)) < len(given):
        given = [str(path) for path in paths]
        if len(set(given)) < len(given):
            raise ValueError(f"a source is given twice: {', '.join(given)}")
    return [load_run(path, name) for path, name in zip(paths, given, strict=True)]


def read_directory(path: str | Path) -> tuple[list[Record], RunDescription]:
    """Records and description of a directory.

    Raises:
        ValueError: not the directory of a run, one without records, or see `RunDirectory.read`.
    """
    return _examine(path)[:2]


def _examine(path: str | Path) -> tuple[list[Record], RunDescription, list[str]]:
    """As `read_directory`, and what could not be examined, in words."""
    directory = RunDirectory(path)
    description = directory.run()
    if description is None:
        raise ValueError(f"{directory.path} is not the directory of a certification: it holds no run.json")
    records, notes = directory.examine()
    if not records:
        raise ValueError(f"{directory.path} holds no finished examples")
    return records, description, notes


def name_of(path: Path) -> str:
    """The name of the folder or file; of a training's own certification, the name of the training."""
    path = path.resolve()
    return path.parent.name if path.name == "certification" else path.name.removesuffix(".tsv")
