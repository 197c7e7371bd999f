"""Confidence limits on the certified accuracy of a data set, whose certificates may each be wrong."""

from __future__ import annotations

from bisect import bisect_left

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from lightning_rs.bounds import clopper_pearson_lower
from lightning_rs.checks import check_alpha


def population_limit(
    certified: ArrayLike, examples: int, alpha: float, confidence: float = 0.95
) -> NDArray[np.float64]:
    """Lower limit on the robust accuracy over the population that the test images are a random sample of.

    max(0, L - alpha), with L the Clopper-Pearson lower bound at 1 - confidence on the probability that an image is
    certified correctly. An image whose answer is not robust is certified with probability at most alpha, so that this
    probability exceeds the robust accuracy by at most alpha.

    Args:
        certified: (...) number of examples certified correctly at a radius.
        examples: number of examples, drawn independently of each other and of the training.
        alpha: failure probability of each certificate.
        confidence: probability with which the limit holds, over images and noise together.

    Returns:
        (...) float64. Each limit holds by itself; those at several radii together are not claimed.

    Raises:
        ValueError: an argument is out of its range.
    """
    lower = clopper_pearson_lower(certified, examples, 1.0 - check_alpha(confidence))
    return np.maximum(lower - check_alpha(alpha), 0.0)


def sample_limit(certified: ArrayLike, examples: int, alpha: float, confidence: float = 0.95) -> NDArray[np.float64]:
    """Lower limit on the robust accuracy over these very images; nothing is said about others.

    max(0, certified - b) / examples, with b the least number that Bin(examples, alpha) exceeds with probability at most
    1 - confidence: the number of wrong certificates is no larger in distribution. Arguments are those of
    `population_limit`.
    """
    wrong = stats.binom.ppf(check_alpha(confidence), examples, check_alpha(alpha))
    return np.maximum(np.asarray(certified, dtype=np.float64) - wrong, 0.0) / examples


def subsample_limits(least: int, most: int, looked_at: int, examples: int, confidence: float = 0.95) -> tuple[int, int]:
    """Limits on how many of `examples` have a property, when some of them, drawn without replacement, were looked at.

    The least C with P(H >= least) > (1 - confidence) / 2 and the largest with P(H <= most) > (1 - confidence) / 2, for
    H hypergeometric: how many of `looked_at` of the examples are among C of them.

    Args:
        least, most: between how many of those that were looked at have the property; equal where that is known.
        looked_at: how many were.
        examples: how many there are.
        confidence: probability with which both limits hold.
    """
    level = (1.0 - check_alpha(confidence)) / 2.0
    counts = range(least, examples - looked_at + least + 1)
    lower = bisect_left(counts, True, key=lambda c: stats.hypergeom.sf(least - 1, examples, c, looked_at) > level)
    counts = range(most, examples - looked_at + most + 1)
    upper = bisect_left(counts, True, key=lambda c: stats.hypergeom.cdf(most, examples, c, looked_at) <= level)
    return least + lower, most + upper - 1
