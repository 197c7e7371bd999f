"""One-sided randomized Clopper-Pearson bounds, whose coverage is exact."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from lightning_rs.bounds.clopper_pearson import _check, _relative_error, clopper_pearson_lower, clopper_pearson_upper


def randomized_clopper_pearson_lower(
    successes: ArrayLike, trials: ArrayLike, alpha: ArrayLike, uniform: ArrayLike
) -> NDArray[np.float64]:
    """Randomized lower confidence bound on a proportion: the p that solves P(Bin > x) + uniform P(Bin = x) = alpha.

    Bin is Bin(trials, p) and x = successes. Over the votes and an independent uniform variable,
    P(bound <= p) = 1 - alpha for every true p in (0, 1); drawing the variable again until the bound pleases voids this.
    The bound is `clopper_pearson_lower` of x at uniform = 1, that of x + 1 at uniform = 0, and in between otherwise.
    With x = trials it is (alpha / uniform) ** (1 / trials), or exactly 1 if uniform <= alpha; with x = 0 it is
    1 - ((1 - alpha) / (1 - uniform)) ** (1 / trials), or 0 if uniform >= alpha. Numerical error is rounded away from
    the truth, so the result never exceeds the exact bound.

    The complement 1 - bound, where it is small, comes without cancellation from
    ``randomized_clopper_pearson_upper(trials - successes, trials, alpha, uniform)``.

    Args:
        successes: number of successes x, integers in [0, trials].
        trials: number of trials n, integers >= 1.
        alpha: failure probability of the bound, in (0, 1).
        uniform: the uniform variable, in [0, 1], drawn once and independently of the trials.

    Returns:
        The bound, float64, in the broadcast shape of the arguments; never below `clopper_pearson_lower`.

    Raises:
        ValueError: an argument is out of its range.

    Source: V. Voracek, "Treatment of Statistical Estimation Problems in Randomized Smoothing for Adversarial
    Robustness", 2024; the construction is W. L. Stevens, "Fiducial Limits of the Parameter of a Discontinuous
    Distribution", Biometrika 37, 1950.
    """
    x, n, a, w = _check_randomized(successes, trials, alpha, uniform)
    inner = (x > 0) & (x < n)
    xi, ni = np.where(inner, x, 1.0), np.where(inner, n, 2.0)
    p = _solve(special.betaincinv(xi + 1.0 - w, ni - xi + w, a), xi, ni, a, w, special.betainc, +1.0)
    p = np.where(x >= n, np.exp(_log_share(a, w) / n), p)
    p = np.where(x <= 0, -np.expm1(_log_rest(a, w) / n), p)
    p = np.clip(p * (1.0 - _relative_error(n)), clopper_pearson_lower(x, n, a), 1.0)
    return np.where((x >= n) & (w <= a), 1.0, p)[()]


def randomized_clopper_pearson_upper(
    successes: ArrayLike, trials: ArrayLike, alpha: ArrayLike, uniform: ArrayLike
) -> NDArray[np.float64]:
    """Randomized upper confidence bound on a proportion: the p that solves P(Bin < x) + uniform P(Bin = x) = alpha.

    It is 1 - ``randomized_clopper_pearson_lower(trials - successes, trials, alpha, uniform)``, computed so that small
    bounds keep their full relative precision, and never above `clopper_pearson_upper`. Without a success it is
    1 - (alpha / uniform) ** (1 / trials), or exactly 0 if uniform <= alpha. Numerical error is rounded away from the
    truth, so the result is never below the exact bound.

    Arguments, errors and source are those of `randomized_clopper_pearson_lower`.
    """
    x, n, a, w = _check_randomized(successes, trials, alpha, uniform)
    inner = (x > 0) & (x < n)
    xi, ni = np.where(inner, x, 1.0), np.where(inner, n, 2.0)
    p = _solve(special.betainccinv(xi + w, ni - xi + 1.0 - w, a), xi, ni, a, 1.0 - w, special.betaincc, -1.0)
    p = np.where(x >= n, np.exp(_log_rest(a, w) / n), p)
    p = np.where(x <= 0, -np.expm1(_log_share(a, w) / n), p)
    p = np.clip(p * (1.0 + _relative_error(n)), 0.0, clopper_pearson_upper(x, n, a))
    return np.where((x <= 0) & (w <= a), 0.0, p)[()]


def _solve(p, x, n, alpha, weight, distribution, slope):
    """The root of weight F(x, n - x + 1; p) + (1 - weight) F(x + 1, n - x; p) = alpha, F rising or falling in p.

    Newton's method on the logarithm, from a start near the root, kept within a bracket.
    """
    low, high = np.zeros_like(p), np.ones_like(p)
    p = np.where((p > 0.0) & (p < 1.0), p, 0.5)
    for _ in range(60):
        log_density = special.xlogy(x - 1.0, p) + special.xlog1py(n - x, -p) - special.betaln(x, n - x + 1.0)
        with np.errstate(over="ignore", under="ignore", divide="ignore", invalid="ignore"):
            value = weight * distribution(x, n - x + 1.0, p) + (1.0 - weight) * distribution(x + 1.0, n - x, p)
            # The densities of the two beta distributions have the ratio (n - x) p / (x (1 - p)).
            ratio = weight + (1.0 - weight) * (n - x) * p / (x * (1.0 - p))
            # Near the root this is Newton's step on ln(value), without the cancellation of the logarithms.
            step = value * np.log1p((value - alpha) / alpha) / (np.exp(log_density) * ratio)
            following = p - slope * step
        beyond = slope * (value - alpha) > 0.0
        low, high = np.where(beyond, low, p), np.where(beyond, p, high)
        done = np.abs(step) <= 1e-13 * p
        inside = (following > low) & (following < high)
        p = np.where(done | inside, np.where(np.isfinite(following), following, p), 0.5 * (low + high))
        if np.all(done):
            break
    return p


def _log_share(a: NDArray, w: NDArray) -> NDArray:
    """ln(min(1, a / w))."""
    w = np.maximum(w, a)
    return np.where(w < 2.0 * a, np.log1p(-(w - a) / w), np.log(a / w))


def _log_rest(a: NDArray, w: NDArray) -> NDArray:
    """ln(min(1, (1 - a) / (1 - w)))."""
    w = np.minimum(w, a)
    near = a - w < 0.5 * (1.0 - w)
    return np.where(near, np.log1p(np.where(near, -(a - w) / (1.0 - w), 0.0)), np.log1p(-a) - np.log1p(-w))


def _check_randomized(successes, trials, alpha, uniform) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    w = np.asarray(uniform, dtype=np.float64)
    if not np.all((w >= 0) & (w <= 1)):
        raise ValueError(f"uniform must lie in [0, 1], got {uniform}")
    return tuple(np.broadcast_arrays(*_check(successes, trials, alpha), w))
