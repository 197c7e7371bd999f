"""One-sided bounds on the mean of draws in [0, 1] that need nothing but their average."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def hoeffding_lower(mean: ArrayLike, trials: ArrayLike, alpha: ArrayLike) -> NDArray[np.float64]:
    """Lower confidence bound on a mean: max(0, mean - sqrt(ln(1/alpha) / (2 trials))).

    P(bound <= E X) >= 1 - alpha for independent draws X in [0, 1]. `hoeffding_kl_lower` uses the same statistic and is
    never smaller. Numerical error is rounded away from the truth, so the result never exceeds the exact bound.

    Args:
        mean: average of the draws, in [0, 1].
        trials: number of draws n, integers >= 1.
        alpha: failure probability of the bound, in (0, 1).

    Returns:
        The bound, float64, in the broadcast shape of the arguments.

    Raises:
        ValueError: an argument is out of its range.

    Source: W. Hoeffding, "Probability Inequalities for Sums of Bounded Random Variables", Journal of the American
    Statistical Association 58, 1963, Theorem 2.
    """
    m, n, a = _check_mean(mean, trials, alpha)
    return np.maximum(0.0, (m - np.sqrt(-np.log(a) / (2.0 * n)) * (1.0 + 1e-15)) * (1.0 - 4e-16))[()]


def hoeffding_upper(mean: ArrayLike, trials: ArrayLike, alpha: ArrayLike) -> NDArray[np.float64]:
    """Upper confidence bound on a mean: min(1, mean + sqrt(ln(1/alpha) / (2 trials))).

    Arguments, result, errors and source are those of `hoeffding_lower`.
    """
    m, n, a = _check_mean(mean, trials, alpha)
    return np.minimum(1.0, (m + np.sqrt(-np.log(a) / (2.0 * n)) * (1.0 + 1e-15)) * (1.0 + 4e-16))[()]


def hoeffding_kl_lower(mean: ArrayLike, trials: ArrayLike, alpha: ArrayLike) -> NDArray[np.float64]:
    """Lower confidence bound on a mean: the smallest q <= mean with kl(mean, q) <= ln(1/alpha) / trials.

    kl(m, q) = m ln(m / q) + (1 - m) ln((1 - m) / (1 - q)). P(bound <= E X) >= 1 - alpha for independent draws X in
    [0, 1]. The bound is 0 at mean 0 and alpha ** (1 / trials), the Clopper-Pearson bound, at mean 1. Numerical error
    is rounded away from the truth, so the result never exceeds the exact bound, and small bounds keep their full
    relative precision.

    The complement 1 - bound, where it is small, comes without cancellation from
    ``hoeffding_kl_upper(1 - mean, trials, alpha)``.

    Args:
        mean: average of the draws, in [0, 1].
        trials: number of draws n, integers >= 1.
        alpha: failure probability of the bound, in (0, 1).

    Returns:
        The bound, float64, in the broadcast shape of the arguments.

    Raises:
        ValueError: an argument is out of its range.

    Source: W. Hoeffding, "Probability Inequalities for Sums of Bounded Random Variables", Journal of the American
    Statistical Association 58, 1963, Theorem 1 (the inequality before its quadratic relaxation).
    """
    m, n, a = _check_mean(mean, trials, alpha)
    exponent = _kl_exponent(1.0 - m, m, -np.log(a) / n)
    return (m * np.exp(-exponent) * (1.0 - 1e-15))[()]


def hoeffding_kl_upper(mean: ArrayLike, trials: ArrayLike, alpha: ArrayLike) -> NDArray[np.float64]:
    """Upper confidence bound on a mean: the largest q >= mean with kl(mean, q) <= ln(1/alpha) / trials.

    P(bound >= E X) >= 1 - alpha. The bound is 1 at mean 1 and 1 - alpha ** (1 / trials) at mean 0. Numerical error is
    rounded away from the truth, so the result is never below the exact bound, and small bounds keep their full
    relative precision.

    Arguments, result, errors and source are those of `hoeffding_kl_lower`.
    """
    m, n, a = _check_mean(mean, trials, alpha)
    exponent = _kl_exponent(m, 1.0 - m, -np.log(a) / n)
    return np.minimum(1.0, (m - (1.0 - m) * np.expm1(-exponent)) * (1.0 + 1e-15))[()]


def _kl_exponent(p: NDArray, rest: NDArray, level: NDArray) -> NDArray:
    """The v >= 0 at which q = 1 - rest exp(-v) satisfies kl(p, q) = level, where rest = 1 - p; never below it.

    In v, both q - p = -rest expm1(-v) and 1 - q = rest exp(-v) keep their relative precision. The divergence is convex
    in v, so Newton's method descends to the root from any start beyond it.
    """
    p, rest = np.maximum(p, 1e-300), np.maximum(rest, 1e-300)
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        # Starts beyond the root, each from one lower bound on the divergence.
        distance = np.minimum(
            np.sqrt(level / 2.0),  # kl >= 2 (q - p)^2
            (4.0 * level + np.sqrt(16.0 * level**2 + 72.0 * level * p)) / 6.0,  # x - ln(1 + x) >= 3 x^2 / (6 + 4 x)
        )
        scaled = level / rest
        v = np.where(distance < rest, -np.log1p(-np.minimum(distance / rest, 1.0)), np.inf)
        v = np.minimum(v, (scaled + np.sqrt(scaled) * np.sqrt(scaled + 8.0)) / 2.0)  # kl >= rest v^2 / (2 + v)
        log_p = np.where(p < 0.5, np.log(p), np.log1p(-np.minimum(rest, 0.5)))
        v = np.minimum(v, (level - p * log_p) / rest)  # kl >= rest v + p ln p
    for _ in range(100):
        change = -np.expm1(-v)
        distance = rest * change
        ratio = distance / p
        divergence = rest * _minus_logarithm(-change, -v) + p * _minus_logarithm(ratio, np.log1p(ratio))
        step = (divergence - level) * (p + distance) / distance
        v = v - step
        if np.all(np.abs(step) <= 1e-8 * v):  # The next relative error is at most the square of this one.
            break
    return v * (1.0 + 1e-14)


def _minus_logarithm(x: NDArray, log1p_x: NDArray) -> NDArray:
    """x - ln(1 + x), from x and ln(1 + x), without cancellation at small x."""
    r = x / (2.0 + x)
    s = r * r
    # ln(1 + x) = 2 (r + r^3 / 3 + r^5 / 5 + ...) and x - 2 r = x r.
    tail = np.polynomial.polynomial.polyval(np.minimum(s, 0.04), 1.0 / np.arange(3.0, 25.0, 2.0))
    return np.where(np.abs(x) < 0.3, x * r - 2.0 * r * s * tail, x - log1p_x)


def _check_mean(
    mean: ArrayLike, trials: ArrayLike, alpha: ArrayLike, least_trials: int = 1
) -> tuple[NDArray, NDArray, NDArray]:
    m, n, a = np.broadcast_arrays(*(np.asarray(v, dtype=np.float64) for v in (mean, trials, alpha)))
    if not np.all((n >= least_trials) & (n == np.floor(n)) & np.isfinite(n)):
        raise ValueError(f"trials must be integers >= {least_trials}, got {trials}")
    if not np.all((m >= 0) & (m <= 1)):
        raise ValueError(f"mean must lie in [0, 1], got {mean}")
    if not np.all((a > 0) & (a < 1)):
        raise ValueError(f"alpha must lie in (0, 1), got {alpha}")
    return m, n, a
