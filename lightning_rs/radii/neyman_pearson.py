"""Certified l2 radii as functions of class probabilities (or of expected scores)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

# Relative to the quantiles: five times the largest error of `scipy.special.ndtri` seen against 40 digits.
_QUANTILE_ERROR = 3e-15


def neyman_pearson_radius(p_lower: ArrayLike, p_upper: ArrayLike, sigma: ArrayLike) -> NDArray[np.float64]:
    """Radius within which the class with probability at least p_lower stays ahead of rivals with at most p_upper.

    R = sigma / 2 * (Phi^-1(p_lower) - Phi^-1(p_upper)), and 0 where that is not positive.

    It is tight: for p_lower + p_upper <= 1 no certificate that sees only these two numbers can be larger.

    Args:
        p_lower: lower bound on the probability (or expected score) of the certified class, in [0, 1].
        p_upper: upper bound on that of every other class, in [0, 1].
        sigma: standard deviation of the noise, > 0, in the units of the input.

    Returns:
        The l2 radius in the units of the input, float64, broadcast; never above the exact value.

    Raises:
        ValueError: a probability outside [0, 1] or sigma <= 0.

    Source: J. Cohen, E. Rosenfeld and J. Z. Kolter, "Certified Adversarial Robustness via Randomized Smoothing",
    2019, Theorem 1.
    """
    p_lower, p_upper, sigma = (np.asarray(v, dtype=np.float64) for v in (p_lower, p_upper, sigma))
    if not (np.all((p_lower >= 0) & (p_lower <= 1)) and np.all((p_upper >= 0) & (p_upper <= 1))):
        raise ValueError(f"probabilities must lie in [0, 1], got p_lower={p_lower}, p_upper={p_upper}")
    if not np.all(sigma > 0):
        raise ValueError(f"sigma must be positive, got {sigma}")
    return radius_from_quantiles(special.ndtri(p_lower), special.ndtri(p_upper), sigma)


def radius_from_quantiles(
    lower_quantile: NDArray[np.float64], upper_quantile: NDArray[np.float64], sigma: ArrayLike
) -> NDArray[np.float64]:
    """sigma / 2 * (lower_quantile - upper_quantile), rounded down and cut off at 0.

    For callers that hold Phi^-1(p_lower) as -Phi^-1(1 - p_lower), which keeps its digits where p_lower is near 1.
    """
    error = _QUANTILE_ERROR * (np.abs(lower_quantile) + np.abs(upper_quantile))
    with np.errstate(invalid="ignore"):
        # Probabilities of exactly 0 and 1 give an infinite radius, which no error makes smaller. -inf - (-inf), with
        # nothing known about either class, is nan and certifies nothing.
        difference = lower_quantile - upper_quantile - np.where(np.isfinite(error), error, 0.0)
    return np.where(difference > 0, 0.5 * np.asarray(sigma, dtype=np.float64) * difference, 0.0)[()]
