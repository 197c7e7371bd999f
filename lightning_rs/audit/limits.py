"""Exact binomial numbers: where limits lie, and whether failures are more than alpha allows.

From SciPy's distributions, not from `lightning_rs.bounds`, which is what is audited.
"""

from __future__ import annotations

import numpy as np
from mpmath import MPContext
from numpy.typing import NDArray
from scipy import stats


def lower_limit(successes: int, trials: int, alpha: float) -> float:
    """The p with P(Bin(trials, p) >= successes) = alpha, the limit of Clopper and Pearson; successes >= 1.

    Just below it, a lower bound at alpha fails as often as it may: whenever there are so many successes.
    """
    return float(stats.beta.ppf(alpha, successes, trials - successes + 1))


def telling_successes(trials: int, alpha: float, least: int, most: int) -> int:
    """The successes in [least, most] at whose limit a bound with twice alpha would fail most often.

    It fails whenever there are so few less that the tail is still at most 2 alpha: nearest to that is what tells most.
    """
    k = np.arange(least, most + 1)
    tails = stats.binom.sf(k[:, None] - 1 - np.arange(100), trials, stats.beta.ppf(alpha, k, trials - k + 1)[:, None])
    return int(k[np.where(tails <= 2.0 * alpha, tails, 0.0).max(axis=1).argmax()])


def interval(failures: int, trials: int, alpha: float = 1e-4) -> tuple[float, float]:
    """Two-sided limits of Clopper and Pearson on a rate, at 1 - alpha."""
    low = lower_limit(failures, trials, 0.5 * alpha) if failures else 0.0
    high = 1.0 - lower_limit(trials - failures, trials, 0.5 * alpha) if failures < trials else 1.0
    return low, high


def chance_of_as_many(failures: int, trials: int, alpha: float) -> float:
    """P(Bin(trials, alpha) >= failures): how likely so many failures, or more, are if each has probability alpha."""
    return float(stats.binom.sf(failures - 1, trials, alpha))


def chance_of_as_far(successes: int, trials: int, p: float) -> float:
    """How likely Bin(trials, p) is to be as unlikely as this, or more: the exact two-sided test."""
    return float(stats.binomtest(successes, trials, min(max(p, 0.0), 1.0)).pvalue)


def chance_of_spread(successes: NDArray[np.int64], trials: int, p: float) -> float:
    """How likely independent Bin(trials, p) are to vary so much, or so little: the chi-square test of their variance.

    1 where a binomial number is too far from a normal one for that, its variance below 20.
    """
    variance = trials * p * (1.0 - p)
    if variance < 20.0:
        return 1.0
    spread = float(np.square(successes - trials * p).sum() / variance)
    return float(min(1.0, 2.0 * min(stats.chi2.cdf(spread, len(successes)), stats.chi2.sf(spread, len(successes)))))


def fair_trials(alpha: float, least: int, most: int) -> int:
    """The n in [least, most] at which a fair coin's largest tail P(Bin(n, 1/2) >= k) of at most alpha is nearest it.

    With so many draws of two classes of one half each, one that was fixed before is certified with that probability,
    and one that was chosen by the same draws with twice it.
    """
    trials = np.arange(least, most + 1)
    k = stats.binom.isf(alpha, trials, 0.5) + 1
    return int(trials[np.argmax(stats.binom.sf(k - 1, trials, 0.5))])


def exact_tail(successes: int, trials: int, quantile: float) -> float:
    """P(Bin(trials, Phi(quantile)) >= successes), successes >= 1, in 40-digit arithmetic."""
    context = MPContext()
    context.dps = 40
    p = context.ncdf(quantile)
    return float(context.betainc(successes, trials - successes + 1, 0, p, regularized=True))
