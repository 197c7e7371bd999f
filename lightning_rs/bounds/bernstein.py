"""One-sided bounds on the mean of draws in [0, 1] that adapt to their variance."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lightning_rs.bounds.hoeffding import _check_mean


def empirical_bernstein_lower(
    mean: ArrayLike, variance: ArrayLike, trials: ArrayLike, alpha: ArrayLike
) -> NDArray[np.float64]:
    """Lower confidence bound on a mean from the sample variance.

    max(0, mean - sqrt(2 variance ln(2/alpha) / trials) - 7 ln(2/alpha) / (3 (trials - 1))).

    P(bound <= E X) >= 1 - alpha for independent draws X in [0, 1]. Numerical error is rounded away from the truth, so
    the result never exceeds the exact bound.

    Args:
        mean: average of the draws, in [0, 1].
        variance: sample variance of the draws with divisor trials - 1, >= 0.
        trials: number of draws n, integers >= 2.
        alpha: failure probability of this one bound, in (0, 1).

    Returns:
        The bound, float64, in the broadcast shape of the arguments.

    Raises:
        ValueError: an argument is out of its range.

    Source: A. Maurer and M. Pontil, "Empirical Bernstein Bounds and Sample Variance Penalization", 2009, Theorem 4.
    """
    m, width = _empirical_bernstein_width(mean, variance, trials, alpha)
    return np.maximum(0.0, (m - width) * (1.0 - 4e-16))[()]


def empirical_bernstein_upper(
    mean: ArrayLike, variance: ArrayLike, trials: ArrayLike, alpha: ArrayLike
) -> NDArray[np.float64]:
    """Upper confidence bound on a mean from the sample variance.

    min(1, mean + sqrt(2 variance ln(2/alpha) / trials) + 7 ln(2/alpha) / (3 (trials - 1))).

    Arguments, result, errors and source are those of `empirical_bernstein_lower`.
    """
    m, width = _empirical_bernstein_width(mean, variance, trials, alpha)
    return np.minimum(1.0, (m + width) * (1.0 + 4e-16))[()]


def predictable_plugin_lower(
    samples: ArrayLike, alpha: ArrayLike, cap: float = 0.5, sequence: bool = False
) -> NDArray[np.float64]:
    """Lower confidence bound on a mean by predictable plug-in empirical Bernstein bets.

    With mu_t = (1/2 + sum_{i<=t} x_i) / (t + 1) and s_t = (1/4 + sum_{i<=t} (x_i - mu_i)^2) / (t + 1), the bets are
    lam_t = min(cap, sqrt(2 ln(1/alpha) / (h_t s_{t-1}))), where h_t is n, or t ln(1 + t) if `sequence`. The bound is
    the largest over t <= n, floored at 0, of

        (sum_{i<=t} lam_i x_i - ln(1/alpha) - sum_{i<=t} (x_i - mu_{i-1})^2 (-ln(1 - lam_i) - lam_i)) / sum lam_i.

    P(bound <= E X) >= 1 - alpha for independent draws X in [0, 1]. If `sequence`, the bets do not depend on n, and the
    bounds for all n hold at once. Numerical error is rounded away from the truth.

    Args:
        samples: draws in [0, 1], in the order in which they were drawn, shape (..., n).
        alpha: failure probability of this one bound, in (0, 1), broadcast against the leading shape of `samples`.
        cap: the largest bet, in (0, 1).
        sequence: whether n was not fixed in advance.

    Returns:
        The bound, float64, in the broadcast leading shape.

    Raises:
        ValueError: an argument is out of its range.

    Source: I. Waudby-Smith and A. Ramdas, "Estimating Means of Bounded Random Variables by Betting", Journal of the
    Royal Statistical Society B 86, 2024, Theorem 2.
    """
    if not 0.0 < cap < 1.0:
        raise ValueError(f"cap must lie in (0, 1), got {cap}")

    def bound(x: NDArray, log_level: NDArray) -> NDArray:
        bets, mean_before = _predictable_bets(x, log_level, sequence)
        bets = np.minimum(bets, cap)
        stake = np.cumsum(bets, axis=-1)
        gain = np.cumsum(bets * x, axis=-1)
        cost = np.cumsum((x - mean_before) ** 2 * (-np.log1p(-bets) - bets), axis=-1) + log_level
        # Rounding in sums of t terms is at most t units in the last place of each; that of the logarithms is a few
        # units of the bets.
        error = (np.arange(x.shape[-1]) + 16.0) * 4.5e-16 * (gain + cost) / stake + 4e-16
        return np.maximum(0.0, ((gain - cost) / stake - error).max(axis=-1))

    return _by_rows(bound, samples, alpha)


def _empirical_bernstein_width(mean, variance, trials, alpha) -> tuple[NDArray, NDArray]:
    m, n, a = _check_mean(mean, trials, alpha, least_trials=2)
    v = np.asarray(variance, dtype=np.float64)
    if not np.all((v >= 0) & np.isfinite(v)):
        raise ValueError(f"variance must be >= 0, got {variance}")
    log_term = np.log(2.0 / a)
    return m, (np.sqrt(2.0 * v * log_term / n) + 7.0 * log_term / (3.0 * (n - 1.0))) * (1.0 + 2e-15)


def _predictable_bets(x: NDArray, log_level: NDArray, sequence: bool) -> tuple[NDArray, NDArray]:
    """Uncapped bets lam_t and running means mu_{t-1}, both from the draws before t; shape (rows, n) each."""
    n = x.shape[-1]
    count = np.arange(1.0, n + 1.0)
    mean = (0.5 + np.cumsum(x, axis=-1)) / (count + 1.0)
    variance = (0.25 + np.cumsum((x - mean) ** 2, axis=-1)) / (count + 1.0)
    mean_before, variance_before = np.full_like(mean, 0.5), np.full_like(variance, 0.25)
    mean_before[:, 1:], variance_before[:, 1:] = mean[:, :-1], variance[:, :-1]
    horizon = count * np.log1p(count) if sequence else float(n)
    return np.sqrt(2.0 * log_level / (horizon * variance_before)), mean_before


def _by_rows(bound: Callable[[NDArray, NDArray], NDArray], samples: ArrayLike, alpha: ArrayLike) -> NDArray[np.float64]:
    """Apply bound(x, ln(1/alpha)), of shapes (rows, n) and (rows, 1), to a few rows of the samples at a time."""
    x, a = np.asarray(samples), np.asarray(alpha, dtype=np.float64)
    if x.ndim == 0 or x.shape[-1] == 0:
        raise ValueError(f"samples must have a last axis of at least one draw, got shape {x.shape}")
    if x.size and not (x.min() >= 0 and x.max() <= 1):
        raise ValueError(f"samples must lie in [0, 1], got values from {x.min()} to {x.max()}")
    if not np.all((a > 0) & (a < 1)):
        raise ValueError(f"alpha must lie in (0, 1), got {alpha}")
    shape, n = np.broadcast_shapes(x.shape[:-1], a.shape), x.shape[-1]
    rows = np.broadcast_to(x, (*shape, n)).reshape(-1, n)
    log_levels = np.broadcast_to(-np.log(a), shape).reshape(-1, 1)
    result = np.empty(len(rows))
    size = max(1, 2**17 // n)
    for start in range(0, len(rows), size):
        part = slice(start, start + size)
        result[part] = bound(np.asarray(rows[part], dtype=np.float64), log_levels[part])
    return result.reshape(shape)[()]
