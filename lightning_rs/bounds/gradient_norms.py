"""Confidence bounds on norms of the smoothed classifier's gradient, from sums of the noise over the votes.

For noise u ~ N(0, I) and F(u) = 1 where the base classifier says the class, b = E[u F] = E[u (F - 1/2)] =
-E[u (1 - F)], since E[u] = 0: sigma times the gradient of the class's probability. The draws are in two halves of n1
and n2; their means X and Y of u (F - 1/2) (`half`) or of -u (1 - F) (`miss`) are independent, and Z is the mean of all.

Source: J. Mohapatra et al., "Higher-Order Certification for Randomized Smoothing", 2020, Theorem 5 (`paper`); the other
bounds are ours, see `docs/first_order.md`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

Array = NDArray[np.float64]

ESTIMATORS = ("auto", "half", "miss", "paper")
HALF, MISS = 0, 1
"""Position of the two kinds of sums: of u (F - 1/2), and of u (1 - F)."""

CONFIDENT = 0.95
"""Share of the selection votes from which `auto` takes `miss`: with few draws that miss the class, it varies less."""

_PAPER_VARIANCE = 0.25 + 3.0 / np.sqrt(8.0 * np.pi * np.e)
# Of float64 sums and products, relative to the vectors' norms.
_ROUNDING = 1e-10
_RATES = np.geomspace(1e-4, 4.0, 400)


def half_tail(trials: ArrayLike, log_level: ArrayLike) -> Array:
    """t with P(v.(X - b) > t) <= exp(-log_level) for a fixed unit v, X the mean of `trials` draws of u (F - 1/2).

    min(sqrt(L / 2m) + .202 L / m, sqrt(.8044 L / m)), because for every F the logarithm of the moment generating
    function at rate k is at most k^2 / 2 min(.4022, 1/4 + .0505 k).
    """
    share = np.asarray(log_level) / np.maximum(trials, 1e-300)
    return np.minimum(np.sqrt(0.5 * share) + 0.202 * share, np.sqrt(0.8044 * share))


def miss_tail(trials: ArrayLike, log_level: ArrayLike, rest: ArrayLike) -> Array:
    """The same for the mean of -u (1 - F), where P(F = 0) <= rest.

    min over rates k of L / (m k) + k K / 2, K = 2 exp(k^2 / 2) ((1 + k^2) Phi(k - a) + (a + k) phi(a - k)),
    a = -Phi^-1(rest / 2): e^y - 1 - y <= y^2 / 2 e^|y|, and K is the largest that E[(1 - F) s^2 e^(k |s|)] can be.
    """
    share = (np.asarray(log_level) / np.maximum(trials, 1e-300))[..., None]
    a = -special.ndtri(0.5 * np.asarray(rest))[..., None]
    k = _RATES
    # exp(k^2 / 2) phi(a - k) = exp(a k) phi(a): no factor overflows.
    density = np.exp(a * k - 0.5 * a * a) / np.sqrt(2.0 * np.pi)
    variance = 2.0 * (np.exp(0.5 * k * k) * (1.0 + k * k) * special.ndtr(k - a) + (a + k) * density)
    return (share / k + 0.5 * k * variance).min(axis=-1)


def least_dimension(delta: float) -> float:
    """Dimension below which the `paper` bounds fail more often than `delta`: 16 ln(2 / delta)."""
    return 16.0 * np.log(2.0 / delta)


@dataclass(frozen=True)
class GradientNorms:
    """Bounds on norms of b over a group of coordinates, each wrong with probability at most its delta.

    Attributes:
        square, product, largest, total: (B,) |X|_2^2, X.Y, |Z|_inf and |Z|_1 over the group.
        halves: (B, 2) numbers of draws n1, n2.
        dimension: number of coordinates in the group.
        estimator: `half` or `miss` or `paper`.
        rest: (B,) upper bound on the probability of missing the class, which `miss` needs.
    """

    square: Array
    product: Array
    largest: Array
    total: Array
    halves: NDArray[np.int64]
    dimension: int
    estimator: str
    rest: Array

    @classmethod
    def of(
        cls, moments: Array, halves: NDArray[np.int64], dimension: int, estimator: str, rest: Array
    ) -> GradientNorms:
        """From `lightning_rs.statistics.gradient_moments` (B, 2, C, 4) of the group's channels; C may be 0."""
        kind = moments[:, MISS if estimator == "miss" else HALF]
        n1, n2 = np.maximum(halves, 1).T
        return cls(
            kind[:, :, 0].sum(1) / (1.0 * n1 * n1),
            kind[:, :, 1].sum(1) / (1.0 * n1 * n2),
            kind[:, :, 2].max(1, initial=0.0) / (n1 + n2),
            kind[:, :, 3].sum(1) / (n1 + n2),
            halves,
            dimension,
            estimator,
            rest,
        )

    def l2_upper(self, delta: float) -> Array:
        """Upper bound on |b|_2.

        X.Y - X.b varies along X and X.b - |b|^2 along b, each in one dimension: |b|^2 <= X.Y + |X| t_Y + |b| t_X.
        """
        if not self.dimension:
            return np.zeros(len(self.square))
        constant, slope = self._quadratic(delta)
        root = 0.5 * (slope + np.sqrt(slope**2 + 4.0 * np.maximum(self.product + constant, 0.0)))
        return np.where(self.halves.min(axis=1) > 0, root * (1.0 + _ROUNDING), np.inf)

    def l2_lower(self, delta: float) -> Array:
        """Lower bound on |b|_2, from the same two deviations: |b|^2 >= X.Y - |X| t_Y - |b| t_X; 0 where none is."""
        if not self.dimension:
            return np.zeros(len(self.square))
        constant, slope = self._quadratic(delta)
        left = np.maximum(self.product - constant, 0.0)
        root = 2.0 * left / (slope + np.sqrt(slope**2 + 4.0 * left))
        return np.where(self.halves.min(axis=1) > 0, root * (1.0 - _ROUNDING), 0.0)

    def linf_upper(self, delta: float) -> Array:
        """Upper bound on |b|_inf: it is a.b for one fixed unit a, and |Z|_inf >= a.Z."""
        if self.estimator == "paper":
            return self.largest + np.sqrt(2.0 * _PAPER_VARIANCE * np.log(2.0 * self.dimension / delta) / self._trials)
        return self.largest * (1.0 + _ROUNDING) + self._tail(self._trials, -np.log(delta))

    def l1_upper(self, delta: float) -> Array:
        """Upper bound on |b|_1, which is a.b for one fixed a of length sqrt(d)."""
        d = self.dimension
        if self.estimator == "paper":
            return self.total + np.sqrt(2.0 * _PAPER_VARIANCE * d * (d * np.log(2.0) - np.log(delta)) / self._trials)
        return self.total * (1.0 + _ROUNDING) + np.sqrt(d) * self._tail(self._trials, -np.log(delta))

    def _quadratic(self, delta: float) -> tuple[Array, Array]:
        """What X.Y may be off by, and the factor of |b| therein; both together fail with probability delta."""
        log_level = np.log(2.0 / delta)
        n1, n2 = np.maximum(self.halves, 1).T.astype(np.float64)
        if self.estimator == "paper":
            if self.dimension < least_dimension(delta):
                raise ValueError(paper_refusal(self.dimension, delta))
            k = _PAPER_VARIANCE
            constant = k * np.sqrt(2.0 * self.dimension * log_level / (n1 * n2))
            return constant, np.sqrt(2.0 * k * (n1 + n2) * log_level / (n1 * n2))
        constant = np.sqrt(self.square) * self._tail(n2, log_level) + _ROUNDING * self.square
        return constant, self._tail(n1, log_level)

    @property
    def _trials(self) -> Array:
        return self.halves.sum(axis=1).astype(np.float64)

    def _tail(self, trials: Array, log_level: float) -> Array:
        log_level = np.full(trials.shape, log_level)
        return miss_tail(trials, log_level, self.rest) if self.estimator == "miss" else half_tail(trials, log_level)


def paper_refusal(dimension: int, delta: float) -> str:
    """Why the `paper` estimator refuses a group of coordinates."""
    return (
        f"the paper estimator needs at least {int(np.ceil(least_dimension(delta)))} coordinates at this alpha, "
        f"got {dimension}: in fewer its bounds fail too often; take half, miss or auto"
    )
