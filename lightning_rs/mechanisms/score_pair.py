"""The pair of bounds on the expected scores of the soft smoothed classifier."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lightning_rs.bounds import (
    betting_lower,
    empirical_bernstein_lower,
    empirical_bernstein_upper,
    hoeffding_kl_lower,
    hoeffding_kl_upper,
    hoeffding_lower,
    hoeffding_upper,
)
from lightning_rs.checks import check_known
from lightning_rs.mechanisms.base import check_share
from lightning_rs.mechanisms.pair import PairMechanism
from lightning_rs.radii.pair import ProbabilityPair
from lightning_rs.statistics import Statistics

BOUNDS = {
    "hoeffding": frozenset({"score_sum"}),
    "hoeffding_kl": frozenset({"score_sum"}),
    "empirical_bernstein": frozenset({"score_sum", "score_square_sum"}),
    "betting": frozenset({"score_sum", "scores"}),
}
"""Name of a bound on expected scores, and the fields of `Statistics` that it reads."""

# Relative to n: sums of float32 scores in float64 are off by far less.
_SUMMATION_ERROR = 1e-12


class ScorePairMechanism(PairMechanism):
    """A radius of the bounds of `score_pair`. Soft.

    Args:
        bound: `hoeffding`, `hoeffding_kl`, `empirical_bernstein` or `betting`.
        top_share: share of alpha spent on the selected class, in (0, 1).
    """

    smoothing = "soft"

    def __init__(self, bound: str = "hoeffding_kl", top_share: float = 0.5) -> None:
        self.bound = check_known("bound", bound, BOUNDS)
        self.top_share = check_share("top_share", top_share)
        self.requires = BOUNDS[bound] | {"counts", "selection_counts"}

    def pair(self, statistics: Statistics, alpha: float) -> ProbabilityPair:
        return score_pair(statistics, alpha, self.bound, self.top_share)


def score_pair(statistics: Statistics, alpha: float, bound: str, top_share: float) -> ProbabilityPair:
    """One lower bound on the selected class's expected score and one upper bound on all others.

    alpha is split: top_share of it on `lower`, the rest on `upper`. Bounds that are an increasing function of the mean
    alone (Hoeffding, Hoeffding-KL) are taken at the largest rival mean; empirical Bernstein, which also reads a
    variance, for every rival, and the largest counts. Neither needs a correction for the number of classes: only the
    bound on the true runner-up, a fixed class, has to hold. `betting` bounds the selected class by betting and the
    others by Hoeffding-KL. `upper` is cut off at `rest`, since the scores of a draw add up to at most one: those of
    the softmax in float32 may not, what `lightning_rs.smoothing.tally` counts does.

    None of these bounds is binomial: they hold for the mean of independent draws in [0, 1] of one distribution.

    The class comes from the votes of the n0 selection draws; selecting on the same scores is not covered.
    """
    alpha_top = top_share * alpha
    alpha_rival = alpha - alpha_top
    n = statistics.trials
    rows = np.arange(len(n))
    mean = statistics.score_sum / n[:, None]
    own = np.clip(mean[rows, statistics.selected] - _SUMMATION_ERROR, 0.0, 1.0)
    rivals = np.clip(mean + _SUMMATION_ERROR, 0.0, 1.0)
    rivals[rows, statistics.selected] = 0.0
    largest = rivals.max(axis=1)

    if bound == "hoeffding":
        lower = hoeffding_lower(own, n, alpha_top)
        rest, upper = 1.0 - lower, hoeffding_upper(largest, n, alpha_rival)
    elif bound == "hoeffding_kl":
        lower = hoeffding_kl_lower(own, n, alpha_top)
        rest, upper = hoeffding_kl_upper(1.0 - own, n, alpha_top), hoeffding_kl_upper(largest, n, alpha_rival)
    elif bound == "betting":
        lower = np.array([betting_lower(scores, alpha_top, truncation=0.99) for scores in statistics.scores])
        lower = lower.reshape(len(n))
        rest, upper = 1.0 - lower, hoeffding_kl_upper(largest, n, alpha_rival)
    else:
        lower, upper = _bernstein(statistics, own, rivals, alpha_top, alpha_rival)
        rest = 1.0 - lower
    return ProbabilityPair(lower, np.minimum(upper, rest), rest)


def _bernstein(
    statistics: Statistics, own: NDArray, rivals: NDArray, alpha_top: float, alpha_rival: float
) -> tuple[NDArray, NDArray]:
    n = statistics.trials[:, None]
    if np.any(n < 2):
        return np.zeros(len(n)), np.ones(len(n))
    # Squares are of the same scores as the sums, and rounded up: the variance is no less than the scores'.
    variance = (statistics.score_square_sum - statistics.score_sum**2 / n) / (n - 1)
    variance = np.maximum(variance, 0.0) + _SUMMATION_ERROR
    rows = np.arange(len(n))
    lower = empirical_bernstein_lower(own, variance[rows, statistics.selected], n[:, 0], alpha_top)
    uppers = empirical_bernstein_upper(rivals, variance, n, alpha_rival)
    uppers[rows, statistics.selected] = 0.0
    return lower, uppers.max(axis=1)
