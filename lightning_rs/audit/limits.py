"""Exact binomial numbers: where limits lie, and whether failures are more than alpha allows.

From SciPy's distributions, not from `lightning_rs.bounds`, which is what is audited.
"""

from __future__ import annotations

import numpy as np
from scipy import stats


def lower_limit(successes: int, trials: int, alpha: float) -> float:
    """The p with P(Bin(trials, p) >= successes) = alpha, the limit of Clopper and Pearson; successes >= 1.

    Just below it, a lower bound at alpha fails as often as it may: whenever there are so many successes.
    """
    return float(stats.beta.ppf(alpha, successes, trials - successes + 1))


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


def fair_trials(alpha: float, least: int, most: int) -> int:
    """The n in [least, most] at which a fair coin's largest tail P(Bin(n, 1/2) >= k) of at most alpha is nearest it.

    With so many draws of two classes of one half each, one that was fixed before is certified with that probability,
    and one that was chosen by the same draws with twice it.
    """
    trials = np.arange(least, most + 1)
    k = stats.binom.isf(alpha, trials, 0.5) + 1
    return int(trials[np.argmax(stats.binom.sf(k - 1, trials, 0.5))])
