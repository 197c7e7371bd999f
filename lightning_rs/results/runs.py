"""What a report is made of: one certification, from its directory or from a results file of the field."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_rs.results.records import Record, RunDirectory, certificates_of
from lightning_rs.results.tsv import read_tsv

UNNAMED = "as published"
"""The mechanism of a results file, which does not name it."""


@dataclass(frozen=True)
class Run:
    """One certification of B examples, by index.

    Attributes:
        name: what it is called in tables and legends.
        about: content of `run.json`; of a results file nothing is known.
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
    about: dict[str, Any]
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
        return self.about.get("sigma")

    @property
    def finished(self) -> bool:
        """Whether all examples that were asked for are there."""
        return set(self.about.get("indices", ())) <= set(self.index.tolist())

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


def run_of_records(records: Sequence[Record], about: dict[str, Any], name: str) -> Run:
    """The run of these records, of which there is at least one."""
    records = sorted(records, key=lambda record: record.index)
    votes = np.array([sum(r.counts.values()) for r in records], dtype=np.float64)
    notes: tuple[str, ...] = ()
    missing = len(set(about.get("indices", ())) - {r.index for r in records})
    if missing:
        notes = (f"{name} is not finished: {missing} of {len(about['indices'])} examples are missing",)
    failures = sum(c.get("fallback", False) for record in records for c in record.certificates.values())
    if failures:
        notes += (f"{name}: {failures} radii fell back to simpler ones, because their solver failed",)
    norms = {m: c.get("norm", "l2") for m, c in records[0].certificates.items()}
    return Run(
        name=name,
        about=about,
        index=np.array([r.index for r in records], dtype=np.int64),
        label=np.array([r.label for r in records], dtype=np.int64),
        certificates={m: certificates_of(records, m)[:2] for m in records[0].certificates},
        clean=np.array([r.clean_prediction == r.label for r in records]),
        noisy=np.array([r.counts.get(r.label, 0) for r in records]) / votes,
        share=np.array([r.counts.get(r.selected, 0) for r in records]) / votes,
        votes=votes,
        norms={m: norm for m, norm in norms.items() if norm != "l2"},
        notes=notes,
    )


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
        return run_of_records(*read_directory(path), name)
    results = read_tsv(path)
    order = np.argsort(results.index)
    notes = [
        f"{name}: if its radii were rounded to nearest, they exceed the certificates by up to {results.rounding:g}"
    ]
    if results.wrong_correct:
        notes.append(f"{name}: {results.wrong_correct} entries of the column correct were wrong and recomputed")
    return Run(
        name=name,
        about={},
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


def read_directory(path: str | Path) -> tuple[list[Record], dict[str, Any]]:
    """Records and `run.json` of a directory.

    Raises:
        ValueError: not the directory of a run, or one without records.
    """
    path = Path(path)
    if not (path / "run.json").is_file():
        raise ValueError(f"{path} is not the directory of a certification: it holds no run.json")
    try:
        about = json.loads((path / "run.json").read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path / 'run.json'} cannot be read: {error}") from None
    lacking = {"data", "split", "sigma", "n0", "n", "alpha"} - set(about if isinstance(about, dict) else ())
    if lacking:
        raise ValueError(
            f"{path / 'run.json'} does not describe a certification: it lacks {', '.join(sorted(lacking))}"
        )
    records = RunDirectory(path).read()
    if not records:
        raise ValueError(f"{path} holds no finished examples")
    return records, about


def name_of(path: Path) -> str:
    """The name of the folder or file; of a training's own certification, the name of the training."""
    path = path.resolve()
    return path.parent.name if path.name == "certification" else path.name.removesuffix(".tsv")
