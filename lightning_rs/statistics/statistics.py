"""Votes and scores of the noisy draws: the only thing that a mechanism sees of a classifier."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lightning_rs.checks import check_sigma
from lightning_rs.statistics.fields import (
    Field,
    Looks,
    Sizes,
    Source,
    Sparse,
    all_for,
    all_in_last_bin,
    appended,
    binned,
    per_class,
    scalar,
    statistic,
)
from lightning_rs.statistics.gradient_moments import gradient_moments

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]

# Rounding of float32 softmax and float64 sums must not turn into "outside of the range".
_SLACK = 1e-6


@dataclass(frozen=True)
class Statistics:
    """Votes, and where they were asked for scores, of the noisy draws of B examples over K classes.

    A mechanism names the fields that it needs; the sampler collects those of all mechanisms in one pass, and the others
    are None. Scores are the softmax of the base classifier's output, divided by their sum where that exceeds one by
    rounding, and rounded down, see `lightning_rs.smoothing.tally`; "own" is the selected class's score, a margin is
    own minus the largest other score of the same draw. `FIELDS` has the `Field` of each array.

    Attributes:
        sigma: scale of the noise, of Gaussian noise its standard deviation, in the units of the input.
        counts: (B, K) int64, votes of the n estimation draws.
        selection_counts: (B, K) int64, votes of the n0 selection draws, independent of the estimation draws; or None,
            and then the class is selected by the estimation votes themselves, see
            `Mechanism.same_sample`.
        score_sum: (B, K) float64, sum of every class's score.
        score_square_sum: (B, K) float64, sum of its square.
        margin_sum: (B,) float64, sum of the margin.
        margin_square_sum: (B, K) float64, sum of (own - score of class j) ** 2.
        score_histogram: (B, 1001) int64, draws whose own score reaches exactly j of `SCORE_THRESHOLDS`,
            j = 0, ..., 1000.
        margin_histogram: (B, 1001) int64, the same of the margin and `MARGIN_THRESHOLDS`.
        scores: (B, n) float32, own score in the order of the draws.
        uniform: (B,) float64, one draw of U(0, 1) an example, independent of everything else.
        gradient_counts: (B, 2, 2) int64, for draws of even and of odd number: how many there are, and how many of them
            did not vote for the selected class.
        gradient_moments: (B, 2, C, 4) float64, products and norms of the gradient sums by kind and channel: see
            `lightning_rs.statistics.gradient_moments`. They suffice for whole channels, but do not add over draws.
        gradient_sums: (B, 2, 2, *input_shape) float64, over the draws u ~ N(0, I) of even and of odd number: sums of
            u (F - 1/2) and of u (1 - F), F = 1 where the draw voted for the selected class and 0 elsewhere.
        region_moments: (B, R, 2, 2, C, 4) float64, of each of R regions of the input the `gradient_moments` within and
            outside of it: what `collapsed` leaves of the sums of every coordinate.
        look_counts: (B, L, 2) int64, votes for the selected class, and draws, at each of L looks during sampling that
            may stop early; looks after the stop repeat the last one.
        prior_counts: (B, 2) int64, of a changed classifier: votes for the selected class, and draws, of the classifier
            before, independent of the draws of `counts`.
        paired_counts: (B, 2) int64, of draws that both classifiers answered: those in which the one before voted for
            the selected class and the changed one did not, and all of them; none where the changed one answered alone.
        input_shape: shape of one input, where a field or a mechanism needs it.
        regions: names of the R regions.
        noise: name of the noise's distribution.
        sampling_error: probability, at most, that any of an example's draws is not an exact one of that distribution.

    Raises:
        ValueError: sigma <= 0, arrays of the wrong shape, counts that do not add up, or scores outside [0, 1].
    """

    sigma: float
    counts: Integers = statistic(
        per_class, int, Source.VOTES, Sparse, default=MISSING, of_selected=False, unanimous=all_for
    )
    selection_counts: Integers | None = statistic(per_class, int, Source.VOTES, Sparse, unanimous=all_for)
    score_sum: Floats | None = statistic(per_class, float, Source.SCORES, limits=(0, 1), unanimous=all_for)
    score_square_sum: Floats | None = statistic(per_class, float, Source.SCORES, limits=(0, 1), unanimous=all_for)
    margin_sum: Floats | None = statistic(scalar, float, Source.SCORES, limits=(-1, 1), unanimous=lambda n: n)
    margin_square_sum: Floats | None = statistic(
        per_class, float, Source.SCORES, limits=(0, 1), unanimous=lambda n: [0, n]
    )
    score_histogram: Integers | None = statistic(binned, int, Source.SCORES, Sparse, unanimous=all_in_last_bin)
    margin_histogram: Integers | None = statistic(binned, int, Source.SCORES, Sparse, unanimous=all_in_last_bin)
    scores: NDArray[np.float32] | None = statistic(
        lambda sizes: (sizes.draws,), np.float32, Source.SCORES, None, add=appended, in_unit=True, unanimous=np.ones
    )
    uniform: Floats | None = statistic(
        scalar, float, Source.INDEX, of_selected=False, add=lambda a, _: a, in_unit=True, unanimous=lambda _: 0.5
    )
    gradient_counts: Integers | None = statistic(
        lambda _: (2, 2), int, Source.NOISE, unanimous=lambda n: [[(n + 1) // 2, 0], [n // 2, 0]]
    )
    gradient_moments: Floats | None = statistic(lambda sizes: (2, sizes.channels, 4), float, Source.NOISE, add=None)
    gradient_sums: Floats | None = statistic(lambda sizes: (2, 2, *sizes.input_shape), float, Source.NOISE)
    region_moments: Floats | None = statistic(
        lambda sizes: (sizes.regions, 2, 2, sizes.channels, 4), float, Source.REGIONS, add=None
    )
    look_counts: Integers | None = statistic(
        lambda sizes: (sizes.looks, 2), int, Source.LOOKS, Looks, add=None, unanimous=lambda n: [[n, n]]
    )
    prior_counts: Integers | None = statistic(
        lambda _: (2,), int, Source.PRIOR, add=lambda a, _: a, unanimous=lambda n: [n, n]
    )
    paired_counts: Integers | None = statistic(lambda _: (2,), int, Source.PRIOR)
    input_shape: tuple[int, ...] | None = None
    regions: tuple[str, ...] = ()
    noise: str = "gaussian"
    sampling_error: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "sigma", check_sigma(self.sigma))
        object.__setattr__(self, "counts", np.asarray(self.counts))
        if self.counts.ndim != 2 or self.counts.shape[1] < 2:
            raise ValueError(
                f"counts must have the shape (examples, classes) with 2 or more classes, got {self.counts.shape}"
            )
        if self.input_shape is not None:
            object.__setattr__(self, "input_shape", tuple(int(length) for length in self.input_shape))
        object.__setattr__(self, "regions", tuple(self.regions))
        for name in self.held:
            values = np.asarray(getattr(self, name))
            object.__setattr__(self, name, _counts(name, values) if FIELDS[name].dtype is int else values)
        self._check_shapes()
        self._check_ranges()
        self._check_agreement()

    @classmethod
    def from_counts(
        cls,
        counts: ArrayLike,
        sigma: float,
        selection_counts: ArrayLike | None = None,
        input_shape: tuple[int, ...] | None = None,
    ) -> Statistics:
        """Statistics from numbers alone; one example's counts may be given as (K,)."""
        counts = np.atleast_2d(np.asarray(counts))
        if selection_counts is not None:
            selection_counts = np.atleast_2d(np.asarray(selection_counts))
        return cls(sigma, counts, selection_counts, input_shape=input_shape)

    @classmethod
    def empty(
        cls, sigma: float, names: Collection[str], sizes: Sizes, noise: str = "gaussian", sampling_error: float = 0.0
    ) -> Statistics:
        """Statistics of no example, with the fields `names`."""
        held = {name: field for name, field in FIELDS.items() if name in names}
        arrays = {name: np.zeros((0, *field.shape(sizes)), field.dtype) for name, field in held.items()}
        return cls(sigma, **arrays, input_shape=sizes.input_shape, noise=noise, sampling_error=sampling_error)

    @classmethod
    def unanimous(cls, trials: int, names: Collection[str], noise: str = "gaussian") -> Statistics:
        """Statistics of one example all of whose `trials` draws say, with score 1, the first of two classes."""
        shape = (1,)
        sizes = Sizes(2, trials, 1, shape)
        arrays = {
            name: np.broadcast_to(FIELDS[name].unanimous(trials), FIELDS[name].shape(sizes))[None]
            for name in {"counts", "selection_counts", *names} - {"input_shape"}
        }
        return cls(1.0, **arrays, input_shape=shape, noise=noise)

    @classmethod
    def concatenate(cls, parts: Sequence[Statistics]) -> Statistics:
        """The examples of all parts, one after the other."""
        first = parts[0]
        if len({(p.sigma, *p._about.values(), p.counts.shape[1], p.held) for p in parts}) != 1:
            raise ValueError(
                "statistics to concatenate must agree in sigma, classes, input shape, noise and the fields they hold"
            )
        joined = {name: np.concatenate([getattr(part, name) for part in parts]) for name in first.held}
        return cls(first.sigma, **joined, **first._about)

    @classmethod
    def from_plain(
        cls,
        rows: Sequence[Mapping[str, Any]],
        sigma: float,
        num_classes: int,
        noise: str = "gaussian",
        sampling_error: float = 0.0,
    ) -> Statistics:
        """From what `to_plain` gave for each of the examples: the fields that all of them hold."""
        if any(row.get("regions") != rows[0].get("regions") for row in rows):
            raise ValueError("the examples hold sums over different regions")
        held = [name for name in FIELDS if all(name in row for row in rows)]
        decoded = {}
        for name in held:
            # The width matters to what is stored sparsely alone.
            width = (*FIELDS[name].shape(Sizes(num_classes)), 0)[0] if FIELDS[name].storage is Sparse else 0
            decoded[name] = FIELDS[name].storage.decode([row[name] for row in rows], width)
        about = {name: rows[0][name] for name in ("input_shape", "regions") if name in rows[0]}
        return cls(sigma, **decoded, **about, noise=noise, sampling_error=sampling_error)

    def to_plain(self, row: int = 0) -> dict[str, Any]:
        """One example's fields in plain values, but for those that are too large to keep."""
        stored = {
            name: FIELDS[name].storage.encode(getattr(self, name)[row]) for name in self.held if FIELDS[name].storage
        }
        if self.regions:
            stored["regions"] = list(self.regions)
        return stored | ({} if self.input_shape is None else {"input_shape": list(self.input_shape)})

    def collapsed(self, regions: Mapping[str, NDArray[np.bool_]]) -> Statistics:
        """The same without the sums of every coordinate, but for what bounds within and outside of regions need.

        It is computed as mechanisms compute it from the sums: their certificates are the same to the bit.

        Args:
            regions: name to the coordinates of the input that belong to it.
        """
        moments = [
            [gradient_moments(np.where(part, self.gradient_sums, 0.0)) for part in (mask, ~mask)]
            for mask in regions.values()
        ]
        return replace(
            self, gradient_sums=None, region_moments=np.moveaxis(np.array(moments), 2, 0), regions=tuple(regions)
        )

    def moments_of(self, region: str) -> tuple[Floats, Floats]:
        """`gradient_moments` within and outside of one of the regions, (B, 2, C, 4) each."""
        moments = self.region_moments[:, self.regions.index(region)]
        return moments[:, 0], moments[:, 1]

    def __add__(self, other: Statistics) -> Statistics:
        """The draws of both, of the same examples with the same selected classes; those of `self` come first."""
        same = ("sigma", "noise", "held", "input_shape")
        if any(getattr(self, name) != getattr(other, name) for name in same) or len(self) != len(other):
            raise ValueError("statistics to add must be of the same examples, sigma and fields")
        if self.look_counts is not None:
            raise ValueError("statistics of draws that were looked at on the way cannot be added")
        # Even counts depend on the selected class: draws with NaN scores were counted against it.
        if not self.same_sample_selection and not np.array_equal(self.selected, other.selected):
            raise ValueError("statistics to add must have the same selected classes")
        if self.gradient_sums is None and (self.gradient_moments is not None or self.regions):
            raise ValueError("gradient_moments do not add over draws: the statistics to add must hold gradient_sums")
        added = {
            name: FIELDS[name].add(getattr(self, name), getattr(other, name)) for name in self.held if FIELDS[name].add
        }
        if self.gradient_moments is not None:
            added["gradient_moments"] = gradient_moments(added["gradient_sums"])
        about = self._about | {"sampling_error": self.sampling_error + other.sampling_error}
        return Statistics(self.sigma, **added, **about)

    def __len__(self) -> int:
        return len(self.counts)

    @property
    def held(self) -> tuple[str, ...]:
        """Names of the array fields that are not None."""
        return tuple(name for name in FIELDS if getattr(self, name) is not None)

    @property
    def readable(self) -> frozenset[str]:
        """What a mechanism may read: see `readable_fields`."""
        return readable_fields({*self.held, *(["input_shape"] if self.input_shape else [])}, self.regions)

    @property
    def _about(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("input_shape", "regions", "noise", "sampling_error")}

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
        gradients = (fields_from(Source.NOISE) | fields_from(Source.REGIONS)).intersection(self.held)
        if gradients and (self.input_shape is None or "gradient_counts" not in gradients):
            raise ValueError("gradient statistics need gradient_counts and input_shape beside them")
        examples, classes = self.counts.shape
        looks, draws = (0 if a is None else (*a.shape, 0, 0)[1] for a in (self.look_counts, self.scores))
        sizes = Sizes(classes, draws, looks, self.input_shape or (), len(self.regions))
        for name in self.held:
            expected, shape = (examples, *FIELDS[name].shape(sizes)), getattr(self, name).shape
            if shape != expected:
                raise ValueError(f"{name} must have the shape {expected} like counts, got {shape}")

    def _check_ranges(self) -> None:
        for name in self.held:
            field, values = FIELDS[name], getattr(self, name)
            if field.limits is not None or field.in_unit:
                n = self.trials.reshape(-1, *[1] * (values.ndim - 1))
                low, high = (0, 1) if field.in_unit else (limit * n for limit in field.limits)
                if not np.all((values >= low - _SLACK) & (values <= high + _SLACK * (high + 1))):
                    raise ValueError(f"{name} must come from scores in [0, 1], got values outside of their range")
            elif field.dtype is float and not np.all(np.isfinite(values)):
                raise ValueError(f"{name} must hold finite numbers")

    def _check_agreement(self) -> None:
        """What several fields say of the same draws."""
        n = self.trials
        for name in ("score_histogram", "margin_histogram"):
            histogram = getattr(self, name)
            if histogram is not None and not np.array_equal(histogram.sum(axis=1), n):
                raise ValueError(f"{name} and counts must add up to the same number of draws")
        if self.look_counts is not None:
            successes, draws = np.moveaxis(self.look_counts, 2, 0)
            if np.any(successes > draws) or np.any(np.diff(draws, axis=1) < 0) or np.any(draws > n[:, None]):
                raise ValueError("look_counts must hold successes <= draws, with draws that grow up to those of counts")
        if self.prior_counts is not None and np.any(self.prior_counts[:, 0] > self.prior_counts[:, 1]):
            raise ValueError("prior_counts must hold votes <= draws")
        if self.paired_counts is not None:
            lost, paired = self.paired_counts.T
            against = n - self.counts[np.arange(len(self)), self.selected]
            if np.any(lost > np.minimum(paired, against)) or np.any((paired != 0) & (paired != n)):
                raise ValueError("paired_counts must hold votes lost <= draws, and all of the draws or none")
        if self.scores is not None and not np.all(self.scores.shape[1] == n):
            raise ValueError(f"scores must hold one score for each of the draws, got {self.scores.shape[1]} a row")
        if self.gradient_counts is not None:
            draws, against = self.gradient_counts.sum(axis=1).T
            missed = n - self.counts[np.arange(len(self)), self.selected]
            if not (np.array_equal(draws, n) and np.array_equal(against, missed)):
                raise ValueError(
                    "gradient_counts must add up to the draws and to the votes against the selected class: "
                    "these gradient statistics are of another image or class"
                )
        if self.score_sum is not None:
            # Scores of a draw add up to one; a draw with NaN scores counts as one for every class but the selected.
            total = self.score_sum.sum(axis=1)
            most = n * max(1, self.counts.shape[1] - 1)
            if not np.all((total >= n * (1 - 1e-4)) & (total <= most * (1 + 1e-4))):
                raise ValueError("score_sum must add up to the number of draws")


FIELDS: dict[str, Field] = {f.name: f.metadata["field"] for f in fields(Statistics) if "field" in f.metadata}
"""Name to description of every array of `Statistics`, in their order: the one list of them."""


def fields_from(source: Source) -> frozenset[str]:
    """Names of the fields that are collected from `source`."""
    return frozenset(name for name, field in FIELDS.items() if field.source is source)


def region_field(region: str) -> str:
    """The name of what `region_moments` hold of one region, among what a mechanism may read."""
    return f"region_moments of {region}"


def readable_fields(held: Collection[str], regions: Collection[str]) -> frozenset[str]:
    """Names of what a mechanism may read of statistics that hold these fields, of these regions."""
    return frozenset(held).union(map(region_field, regions))


def _counts(name: str, array: NDArray) -> NDArray[np.int64]:
    if not np.issubdtype(array.dtype, np.number) or not np.all(array == np.floor(array)) or np.any(array < 0):
        raise ValueError(f"{name} must hold integers >= 0")
    return array.astype(np.int64)
