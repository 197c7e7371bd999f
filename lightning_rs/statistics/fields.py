"""What there is to know of one kind of statistic: its shape and type, its source, how it adds up and is stored."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_rs.statistics.gradient_moments import gradient_channels
from lightning_rs.statistics.thresholds import SCORE_THRESHOLDS

BINS = len(SCORE_THRESHOLDS) + 1


class Source(Enum):
    """What a field is collected from."""

    VOTES = "votes"
    SCORES = "scores"
    NOISE = "noise"
    LOOKS = "looks"
    INDEX = "index"
    REGIONS = "regions"
    PRIOR = "prior"


@dataclass(frozen=True)
class Sizes:
    """The numbers that shapes depend on."""

    classes: int
    draws: int = 0
    looks: int = 0
    input_shape: tuple[int, ...] = ()
    regions: int = 0

    @property
    def channels(self) -> int:
        return gradient_channels(self.input_shape)


class Dense:
    """Stored as nested lists."""

    @staticmethod
    def encode(values: NDArray) -> Any:
        return values.tolist()

    @staticmethod
    def decode(rows: Sequence[Any], width: int) -> NDArray:
        values = np.array(rows)
        if values.dtype.kind not in "iuf":
            raise ValueError("the records hold something else than numbers")
        return values.astype(np.float64)


class Sparse(Dense):
    """Stored as place to number, of the places with a number."""

    @staticmethod
    def encode(values: NDArray) -> dict[int, int]:
        return {int(place): int(values[place]) for place in np.flatnonzero(values)}

    @staticmethod
    def decode(rows: Sequence[dict[int, int]], width: int) -> NDArray[np.int64]:
        sizes = np.array([len(row) for row in rows])
        total = int(sizes.sum())
        places = np.fromiter(chain.from_iterable(rows), dtype=np.int64, count=total)
        numbers = np.fromiter(chain.from_iterable(row.values() for row in rows), dtype=np.int64, count=total)
        if total and not 0 <= places.min() <= places.max() < width:
            raise ValueError(f"the records hold votes for class {places.max()}, of {width} classes")
        dense = np.zeros((len(rows), width), dtype=np.int64)
        dense[np.repeat(np.arange(len(rows)), sizes), places] = numbers
        return dense


class Looks(Dense):
    """Stored without the looks after the stop, which repeat the last one."""

    @staticmethod
    def encode(values: NDArray) -> Any:
        return values[: int(np.searchsorted(values[:, 1], values[-1, 1])) + 1].tolist()

    @staticmethod
    def decode(rows: Sequence[Any], width: int) -> NDArray:
        longest = max(map(len, rows))
        return np.array([row + row[-1:] * (longest - len(row)) for row in rows])


@dataclass(frozen=True)
class Field:
    """One array of `Statistics`, a row for every example.

    Attributes:
        shape: `Sizes` -> shape of one example's row.
        dtype: of its numbers; integers are counts and never negative.
        source: what it is collected from.
        storage: how a record keeps it; None for what is too large to keep.
        of_selected: whether it depends on the class that the selection votes chose, so that there must be some.
        add: the rows of two sets of draws of the same examples -> those of both together; None where that takes more
            than the rows.
        limits: the least and the largest value of an entry, of sums per draw.
        in_unit: whether entries are no sums and lie in [0, 1].
        unanimous: number of draws -> the row of an example all of whose draws say, with score 1, the first of two
            classes.
    """

    shape: Callable[[Sizes], tuple[int, ...]]
    dtype: type
    source: Source
    storage: type[Dense] | None = Dense
    of_selected: bool = True
    add: Callable[[NDArray, NDArray], NDArray] | None = np.add
    limits: tuple[float, float] | None = None
    in_unit: bool = False
    unanimous: Callable[[int], Any] = lambda draws: 0


def statistic(*args: Any, default: Any = None, **options: Any) -> Any:
    """A dataclass field, None unless it was collected, with its `Field`."""
    return dataclasses.field(default=default, metadata={"field": Field(*args, **options)})


def per_class(sizes: Sizes) -> tuple[int, ...]:
    return (sizes.classes,)


def scalar(sizes: Sizes) -> tuple[int, ...]:
    return ()


def binned(sizes: Sizes) -> tuple[int, ...]:
    return (BINS,)


def appended(first: NDArray, second: NDArray) -> NDArray:
    return np.concatenate([first, second], axis=1)


def all_for(draws: int) -> list[int]:
    """Votes, or sums of scores, all for the first of two classes."""
    return [draws, 0]


def all_in_last_bin(draws: int) -> NDArray[np.int64]:
    """The histogram of draws that all reach every threshold."""
    return draws * (np.arange(BINS) == BINS - 1)
