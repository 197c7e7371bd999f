"""What the noisy draws said: the only thing that a mechanism sees of a classifier."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lightning_rs.checks import check_sigma


@dataclass(frozen=True)
class Statistics:
    """Votes of the noisy draws of B examples over K classes.

    Attributes:
        sigma: standard deviation of the noise, in the units of the input.
        counts: (B, K) int64, votes of the n estimation draws.
        selection_counts: (B, K) int64, votes of the n0 selection draws, independent of the estimation draws; or None,
            and then the class is selected by the estimation votes themselves and mechanisms spend half of alpha.

    Raises:
        ValueError: sigma <= 0, or arrays that are not (B, K) counts with K >= 2.
    """

    sigma: float
    counts: NDArray[np.int64]
    selection_counts: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "sigma", check_sigma(self.sigma))
        object.__setattr__(self, "counts", _counts("counts", self.counts))
        if self.selection_counts is not None:
            object.__setattr__(self, "selection_counts", _counts("selection_counts", self.selection_counts))
            if self.selection_counts.shape != self.counts.shape:
                raise ValueError(
                    f"selection_counts {self.selection_counts.shape} and counts {self.counts.shape} differ in shape"
                )

    @classmethod
    def from_counts(cls, counts: ArrayLike, sigma: float, selection_counts: ArrayLike | None = None) -> Statistics:
        """Statistics from numbers alone; one example's counts may be given as (K,)."""
        counts = np.atleast_2d(np.asarray(counts))
        if selection_counts is not None:
            selection_counts = np.atleast_2d(np.asarray(selection_counts))
        return cls(sigma, counts, selection_counts)

    @classmethod
    def concatenate(cls, parts: Sequence[Statistics]) -> Statistics:
        """The examples of all parts, one after the other."""
        if len({(part.sigma, part.counts.shape[1], part.same_sample_selection) for part in parts}) != 1:
            raise ValueError("statistics to concatenate must agree in sigma, classes and kind of selection")
        selection = None
        if not parts[0].same_sample_selection:
            selection = np.concatenate([part.selection_counts for part in parts])
        return cls(parts[0].sigma, np.concatenate([part.counts for part in parts]), selection)

    def __add__(self, other: Statistics) -> Statistics:
        """The draws of both, of the same examples."""
        if (self.sigma, self.counts.shape, self.same_sample_selection) != (
            other.sigma,
            other.counts.shape,
            other.same_sample_selection,
        ):
            raise ValueError("statistics to add must be of the same examples, sigma and kind of selection")
        selection = None if self.same_sample_selection else self.selection_counts + other.selection_counts
        return Statistics(self.sigma, self.counts + other.counts, selection)

    def __len__(self) -> int:
        return len(self.counts)

    @property
    def trials(self) -> NDArray[np.int64]:
        """(B,) number n of estimation draws."""
        return self.counts.sum(axis=1)

    @property
    def selected(self) -> NDArray[np.int64]:
        """(B,) class with the most selection votes, the lowest index on ties: the class to certify."""
        return (self.counts if self.same_sample_selection else self.selection_counts).argmax(axis=1)

    @property
    def same_sample_selection(self) -> bool:
        """Whether the estimation votes also select the class."""
        return self.selection_counts is None


def _counts(name: str, values: ArrayLike) -> NDArray[np.int64]:
    array = np.asarray(values)
    if array.ndim != 2 or array.shape[1] < 2:
        raise ValueError(f"{name} must have the shape (examples, classes) with 2 or more classes, got {array.shape}")
    if not np.issubdtype(array.dtype, np.number) or not np.all(array == np.floor(array)) or np.any(array < 0):
        raise ValueError(f"{name} must hold integers >= 0")
    return array.astype(np.int64)
