"""What a report is made of: the examples of one certification, with what is known of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_rs.results.columns import Columns
from lightning_rs.results.description import RunDescription
from lightning_rs.results.directory import RunDirectory
from lightning_rs.results.environment import Environment, note_of
from lightning_rs.results.records import Record
from lightning_rs.results.stored_records import StoredRecords

REAL_ARITHMETIC = (
    "noise was added in floating point, so its certificates assume real arithmetic; those under grid_gaussian noise "
    "hold for the program as it runs"
)


_COLUMNS = ("index", "label", "clean", "noisy", "share", "votes", "rival", "seconds")


@dataclass(frozen=True)
class Run:
    """One certification of B examples, by index.

    Attributes:
        name: what it is called in tables and legends.
        description: what it is of and how it was made; None of a results file, which does not say.
        stated: of a results file, what its reader says instead: some of the description's fields.
        guess: sigma as its path has it, where nobody says it.
        index, label: (B,) int64.
        certificates: mechanism to predictions and radii, (B,) each.
        clean: (B,) bool, whether the base classifier is right without noise; None where it is not known.
        noisy: (B,) float64, share of noisy copies that it gets right; None where it is not known.
        share: (B,) float64, share of votes of the selected class, the estimate of p_A; None where it is not known.
        votes: (B,) number of estimation draws; None where it is not known.
        rival: (B,) float64, share of votes of the strongest other class; None where it is not known.
        seconds: (B,) float64, time that sampling and certifying took; None where it is not known.
        norms: mechanism to the norm of its radii, where that is not l2.
        notes: what a reader of its figures has to know; they go on from the run's name.
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
    rival: NDArray[np.float64] | None = None
    seconds: NDArray[np.float64] | None = None
    norms: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    stated: Mapping[str, Any] = field(default_factory=dict)
    guess: float | None = None

    def said(self, key: str) -> Any:
        """A field of the description, or what is stated in its place; None where nobody says it."""
        return self.stated.get(key) if self.description is None else getattr(self.description, key)

    @property
    def sigma(self) -> float | None:
        """Standard deviation of the noise, as it is said or guessed."""
        sigma = self.said("sigma")
        return self.guess if sigma is None else sigma

    @property
    def guessed(self) -> bool:
        """Whether sigma is a guess."""
        return self.guess is not None and self.said("sigma") is None

    @property
    def finished(self) -> bool:
        """Whether all examples that were asked for are there."""
        return not self.missing

    @property
    def missing(self) -> int:
        """How many of the examples that were asked for are not there."""
        asked = self.description.asked if self.description else None
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

    def restricted(self, indices: NDArray[np.int64]) -> Run:
        """The run with the examples of these indices only."""
        kept = np.isin(self.index, indices)
        examples = {name: None if (values := getattr(self, name)) is None else values[kept]
                    for name in _COLUMNS}
        certificates = {m: (prediction[kept], radius[kept]) for m, (prediction, radius) in self.certificates.items()}
        return replace(self, certificates=certificates, **examples)


def run_of_records(
    records: Iterable[Record],
    description: RunDescription,
    name: str,
    environments: Mapping[Environment, int] | None = None,
) -> Run:
    """The run of these records; without any, a run without mechanisms.

    Args:
        records: of different examples.
        description: what they are of.
        name: what the run is called.
        environments: where they were made, see `RunDirectory.environments`; None where that is not known.
    """
    columns = Columns()
    for record in records:
        columns.add(record)
    return run_of_columns(columns, description, name, environments)


def run_of_columns(
    columns: Columns,
    description: RunDescription,
    name: str,
    environments: Mapping[Environment, int] | None = None,
) -> Run:
    """The run of the records that were gathered, see `run_of_records`."""
    values, certificates = columns.by_index()
    norms = {mechanism: norm for mechanism, norm in columns.norms.items() if norm != "l2"}
    run = Run(name=name, description=description, certificates=certificates, norms=norms, **values)
    notes = []
    if description.assumes_real_arithmetic:
        notes.append(REAL_ARITHMETIC)
    if description.quantized:
        notes.append("what is certified are the images rounded to the grid, not those of the data set")
    if description.stochastic:
        notes.append(
            "its base classifier is random: what is certified is its answer over noise and randomness, and base clean "
            "is of one answer an image"
        )
    if description.shard is not None:
        notes.append(f"only shard {description.shard} of the images of its run")
    if description.like is not None:
        notes.append(
            "certified like a classifier before, from its votes too; of images that both answered votes are those on "
            "which they agree, so that base noisy is a lower limit"
        )
    if run.missing:
        notes.append(f"not finished, {run.missing} of {len(description.asked)} examples are missing")
    if columns.fallbacks:
        notes.append(f"{columns.fallbacks} radii fell back to simpler ones, because their solver failed")
    if made := note_of(environments or {}):
        notes.append(made)
    return replace(run, notes=tuple(notes))


def read_directory(path: str | Path) -> tuple[list[Record], RunDescription, list[str]]:
    """Records and description of a directory, and what could not be examined, in words.

    Raises:
        ValueError: see `open_directory` and `RunDirectory.read`.
    """
    stored = open_directory(path)
    return list(stored), stored.run, stored.notes


def open_directory(path: str | Path) -> StoredRecords:
    """The records of a directory, read as they are gone through.

    Raises:
        ValueError: not the directory of a run, one without records, or see `RunDirectory.stored`.
    """
    directory = RunDirectory(path)
    directory.existing_run()
    stored = directory.stored()
    if not stored:
        raise ValueError(f"{directory.path} holds no finished examples")
    return stored
