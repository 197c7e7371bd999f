"""What the noisy draws said: the only thing that a mechanism sees of a classifier."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lightning_rs.checks import check_sigma
from lightning_rs.bounds.gradient_norms import gradient_channels, gradient_moments
from lightning_rs.statistics.thresholds import SCORE_THRESHOLDS

_INTEGER = ("counts", "selection_counts", "score_histogram", "margin_histogram", "gradient_counts", "look_counts")
# Rounding of float32 softmax and float64 sums must not turn into "outside of the range".
_SLACK = 1e-6


@dataclass(frozen=True)
class Statistics:
    """Votes, and where they were asked for scores, of the noisy draws of B examples over K classes.

    A mechanism names the fields that it needs; the sampler collects those of all mechanisms in one pass, and the others
    are None. Scores are the softmax of the base classifier's output; "own" is the selected class's score, a margin is
    own minus the largest other score of the same draw.

    Attributes:
        sigma: standard deviation of the noise, in the units of the input.
        counts: (B, K) int64, votes of the n estimation draws.
        selection_counts: (B, K) int64, votes of the n0 selection draws, independent of the estimation draws; or None,
            and then the class is selected by the estimation votes themselves and mechanisms spend half of alpha.
        score_sum: (B, K) float64, sum of every class's score.
        score_square_sum: (B, K) float64, sum of its square.
        margin_sum: (B,) float64, sum of the margin.
        margin_square_sum: (B, K) float64, sum of (own - score of class j) ** 2.
        score_histogram: (B, 1001) int64, draws whose own score reaches exactly j of
            `lightning_rs.mechanisms.SCORE_THRESHOLDS`, j = 0, ..., 1000.
        margin_histogram: (B, 1001) int64, the same of the margin and `MARGIN_THRESHOLDS`.
        scores: (B, n) float32, own score in the order of the draws.
        uniform: (B,) float64, one draw of U(0, 1) an example, independent of everything else.
        gradient_counts: (B, 2, 2) int64, for draws of even and of odd number: how many there are, and how many of them
            did not vote for the selected class.
        gradient_moments: (B, 2, C, 4) float64, products and norms of the gradient sums by kind and channel: see
            `lightning_rs.mechanisms.gradient_moments`. They suffice for whole channels, but do not add over draws.
        gradient_sums: (B, 2, 2, *input_shape) float64, over the draws u ~ N(0, I) of even and of odd number: sums of
            u (F - 1/2) and of u (1 - F), F = 1 where the draw voted for the selected class and 0 elsewhere.
        input_shape: shape of one input.
        look_counts: (B, L, 2) int64, votes for the selected class, and draws, at each of L looks during sampling that
            may stop early; looks after the stop repeat the last one.

    Raises:
        ValueError: sigma <= 0, arrays of the wrong shape, counts that do not add up, or scores outside [0, 1].
    """

    sigma: float
    counts: NDArray[np.int64]
    selection_counts: NDArray[np.int64] | None = None
    score_sum: NDArray[np.float64] | None = None
    score_square_sum: NDArray[np.float64] | None = None
    margin_sum: NDArray[np.float64] | None = None
    margin_square_sum: NDArray[np.float64] | None = None
    score_histogram: NDArray[np.int64] | None = None
    margin_histogram: NDArray[np.int64] | None = None
    scores: NDArray[np.float32] | None = None
    uniform: NDArray[np.float64] | None = None
    gradient_counts: NDArray[np.int64] | None = None
    gradient_moments: NDArray[np.float64] | None = None
    gradient_sums: NDArray[np.float64] | None = None
    input_shape: tuple[int, ...] | None = None
    look_counts: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "sigma", check_sigma(self.sigma))
        object.__setattr__(self, "counts", np.asarray(self.counts))
        if self.counts.ndim != 2 or self.counts.shape[1] < 2:
            raise ValueError(
                f"counts must have the shape (examples, classes) with 2 or more classes, got {self.counts.shape}"
            )
        if self.input_shape is not None:
            object.__setattr__(self, "input_shape", tuple(int(length) for length in self.input_shape))
        for name in self.held:
            values = np.asarray(getattr(self, name))
            object.__setattr__(self, name, _counts(name, values) if name in _INTEGER else values)
        self._check_shapes()
        self._check_ranges()

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
        if len({(part.sigma, part.counts.shape[1], part.input_shape, part.held) for part in parts}) != 1:
            raise ValueError(
                "statistics to concatenate must agree in sigma, classes, input shape and the fields that they hold"
            )
        joined = {name: np.concatenate([getattr(part, name) for part in parts]) for name in parts[0].held}
        return cls(parts[0].sigma, **joined, input_shape=parts[0].input_shape)

    def __add__(self, other: Statistics) -> Statistics:
        """The draws of both, of the same examples with the same selected classes; those of `self` come first."""
        if any(getattr(self, name) != getattr(other, name) for name in ("sigma", "held", "input_shape")) or len(
            self
        ) != len(other):
            raise ValueError("statistics to add must be of the same examples, sigma and fields")
        if self.look_counts is not None:
            raise ValueError("statistics of draws that were looked at on the way cannot be added")
        # Even counts depend on the selected class: draws with NaN scores were counted against it.
        if not self.same_sample_selection and not np.array_equal(self.selected, other.selected):
            raise ValueError("statistics to add must have the same selected classes")
        if self.gradient_moments is not None and self.gradient_sums is None:
            raise ValueError("gradient_moments do not add over draws: the statistics to add must hold gradient_sums")
        added = {name: getattr(self, name) + getattr(other, name) for name in self.held if name != "scores"}
        if self.gradient_moments is not None:
            added["gradient_moments"] = gradient_moments(added["gradient_sums"])
        if self.scores is not None:
            added["scores"] = np.concatenate([self.scores, other.scores], axis=1)
        if self.uniform is not None:
            added["uniform"] = self.uniform
        return Statistics(self.sigma, **added, input_shape=self.input_shape)

    def __len__(self) -> int:
        return len(self.counts)

    @property
    def held(self) -> tuple[str, ...]:
        """Names of the array fields that are not None."""
        names = (f.name for f in fields(self) if f.name not in ("sigma", "input_shape"))
        return tuple(name for name in names if getattr(self, name) is not None)

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

    def _check_shapes(self) -> None:
        examples, classes = self.counts.shape
        per_class = ("selection_counts", "score_sum", "score_square_sum", "margin_square_sum")
        expected = {name: (examples, classes) for name in per_class}
        expected |= {"margin_sum": (examples,), "uniform": (examples,)}
        expected |= {name: (examples, len(SCORE_THRESHOLDS) + 1) for name in ("score_histogram", "margin_histogram")}
        held_gradients = {"gradient_counts", "gradient_moments", "gradient_sums"}.intersection(self.held)
        if held_gradients and (self.input_shape is None or "gradient_counts" not in held_gradients):
            raise ValueError("gradient statistics need gradient_counts and input_shape beside them")
        if held_gradients:
            expected |= {
                "gradient_counts": (examples, 2, 2),
                "gradient_moments": (examples, 2, gradient_channels(self.input_shape), 4),
                "gradient_sums": (examples, 2, 2, *self.input_shape),
            }
        if self.look_counts is not None:
            expected["look_counts"] = (examples, *self.look_counts.shape[1:2], 2)
        for name in self.held:
            shape = getattr(self, name).shape
            if shape != expected.get(name, (examples, *shape[1:])):
                raise ValueError(f"{name} must have the shape {expected.get(name)} like counts, got {shape}")

    def _check_ranges(self) -> None:
        n = self.trials[:, None]
        for name in ("score_histogram", "margin_histogram"):
            histogram = getattr(self, name)
            if histogram is not None and not np.array_equal(histogram.sum(axis=1), self.trials):
                raise ValueError(f"{name} and counts must add up to the same number of draws")
        if self.look_counts is not None:
            successes, draws = np.moveaxis(self.look_counts, 2, 0)
            if np.any(successes > draws) or np.any(np.diff(draws, axis=1) < 0) or np.any(draws > n):
                raise ValueError("look_counts must hold successes <= draws, with draws that grow up to those of counts")
        if self.scores is not None and not np.all(self.scores.shape[1] == self.trials):
            raise ValueError(f"scores must hold one score for each of the draws, got {self.scores.shape[1]} a row")
        if self.gradient_counts is not None:
            draws, against = self.gradient_counts.sum(axis=1).T
            missed = self.trials - self.counts[np.arange(len(self)), self.selected]
            if not (np.array_equal(draws, self.trials) and np.array_equal(against, missed)):
                raise ValueError(
                    "gradient_counts must add up to the draws and to the votes against the selected class: "
                    "these gradient statistics are of another image or class"
                )
        for name in ("gradient_moments", "gradient_sums"):
            if getattr(self, name) is not None and not np.all(np.isfinite(getattr(self, name))):
                raise ValueError(f"{name} must hold finite numbers")
        limits = {
            "score_sum": (0.0, n),
            "score_square_sum": (0.0, n),
            "margin_sum": (-n[:, 0], n[:, 0]),
            "margin_square_sum": (0.0, n),
            "scores": (0.0, 1.0),
            "uniform": (0.0, 1.0),
        }
        for name, (low, high) in limits.items():
            values = getattr(self, name)
            if values is not None and not np.all((values >= low - _SLACK) & (values <= high + _SLACK * (high + 1))):
                raise ValueError(f"{name} must come from scores in [0, 1], got values outside of their range")
        if self.score_sum is not None:
            # Scores of a draw add up to one; a draw with NaN scores counts as one for every class but the selected.
            total = self.score_sum.sum(axis=1)
            most = self.trials * max(1, self.counts.shape[1] - 1)
            if not np.all((total >= self.trials * (1 - 1e-4)) & (total <= most * (1 + 1e-4))):
                raise ValueError("score_sum must add up to the number of draws")


def _counts(name: str, array: NDArray) -> NDArray[np.int64]:
    if not np.issubdtype(array.dtype, np.number) or not np.all(array == np.floor(array)) or np.any(array < 0):
        raise ValueError(f"{name} must hold integers >= 0")
    return array.astype(np.int64)
