"""Certified confidence: how far from the input the expected score of a class stays above a threshold."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

_EPSILON = float(np.finfo(np.float64).eps)

# Relative to the quantiles: larger than the error of `scipy.special.ndtri` and of the arithmetic around it.
_QUANTILE_ERROR = 1e-14

# Relative to the values of `scipy.special.ndtr` above 1e-80, larger than their error.
_PROBABILITY_ERROR = 1e-13


def certified_confidence(
    thresholds: ArrayLike,
    survival_lower: ArrayLike,
    sigma: ArrayLike,
    radius: ArrayLike,
    low: float = 0.0,
    high: float = 1.0,
) -> NDArray[np.float64]:
    """Lower bound on the expected score everywhere within `radius`, from bounds on its distribution at the centre.

    C(r) = low + sum over j of (s_j - s_(j-1)) Phi(Phi^-1(p_j) - r / sigma), with s_0 = low, s_j = thresholds[j] and
    p_j = survival_lower[j], which is first raised to the largest value at or after j: P(score >= s) falls with s, so
    bounds at higher thresholds hold at lower ones.

    A single threshold `high` with p = (mean - low) / (high - low), for a lower bound `mean` on the expected score,
    gives the bound that knows the mean alone.

    Args:
        thresholds: (..., J), ascending along the last axis, in (low, high].
        survival_lower: (..., J) lower bounds on P(score >= threshold), in [0, 1].
        sigma: (...) standard deviation of the noise, > 0, in the units of the input.
        radius: (...) l2 distance from the centre, >= 0, in the units of the input.
        low: least possible score.
        high: largest possible score.

    Returns:
        (...) bounds in [low, high], float64; never above the exact value.

    Raises:
        ValueError: thresholds or probabilities outside their range or of different lengths, sigma not positive and
            finite, radius negative, or low not below high.

    Source: A. Kumar, A. Levine, S. Feizi and T. Goldstein, "Certifying Confidence via Randomized Smoothing", 2020,
    Theorem 2.
    """
    weights, quantiles, sigma = _check_distribution(thresholds, survival_lower, sigma, low, high)
    radius = np.asarray(radius, dtype=np.float64)
    wrong = ~(radius >= 0.0)
    if wrong.any():
        raise ValueError(f"radius must be at least 0, got {radius[wrong][0]}")
    # A certain event stays certain at every distance, also at an infinite one.
    with np.errstate(invalid="ignore"):
        shifted = np.where(quantiles == np.inf, np.inf, quantiles - (radius / sigma)[..., None])
    confidence = np.nextafter(low + _mass(weights, special.ndtr(shifted)), -np.inf)
    return np.clip(confidence, low, high)[()]


def confidence_radius(
    thresholds: ArrayLike,
    survival_lower: ArrayLike,
    sigma: ArrayLike,
    confidence: ArrayLike,
    low: float = 0.0,
    high: float = 1.0,
) -> NDArray[np.float64]:
    """Radius within which the expected score stays at or above `confidence`: the r with C(r) = confidence.

    C is that of `certified_confidence`, which at the result is at least `confidence`. It falls with r, and the solution
    is found by a safeguarded Newton method.

    Args:
        thresholds: (..., J), ascending along the last axis, in (low, high].
        survival_lower: (..., J) lower bounds on P(score >= threshold), in [0, 1].
        sigma: (...) standard deviation of the noise, > 0, in the units of the input.
        confidence: (...) the value to stay above, in (low, high].
        low: least possible score.
        high: largest possible score.

    Returns:
        (...) l2 radii in the units of the input, float64; 0 where C(0) <= confidence; infinite only where events of
        probability 1 alone keep the expected score above `confidence`; never above the exact value.

    Raises:
        ValueError: thresholds or probabilities outside their range or of different lengths, sigma not positive and
            finite, confidence outside (low, high], or low not below high.

    Source: A. Kumar, A. Levine, S. Feizi and T. Goldstein, "Certifying Confidence via Randomized Smoothing", 2020,
    Theorem 2.
    """
    weights, quantiles, sigma = _check_distribution(thresholds, survival_lower, sigma, low, high)
    confidence = np.asarray(confidence, dtype=np.float64)
    wrong = ~((confidence > low) & (confidence <= high))
    if wrong.any():
        raise ValueError(f"confidence must lie in ({low}, {high}], got {confidence[wrong][0]}")
    shape = np.broadcast_shapes(weights.shape[:-1], quantiles.shape[:-1], sigma.shape, confidence.shape)
    # Rounded up by more than the errors of this difference and of the sum in certified_confidence.
    target = confidence - low + 4.0 * _EPSILON * np.maximum(abs(low), np.abs(confidence))
    target, sigma = (np.broadcast_to(v, shape).reshape(-1) for v in (target, sigma))
    weights, quantiles = (
        np.broadcast_to(v, (*shape, v.shape[-1])).reshape(-1, v.shape[-1]) if v.ndim > 1 else v[None]
        for v in (weights, quantiles)
    )

    certain = _mass(weights, np.where(quantiles == np.inf, 1.0, 0.0), 2.0)
    distance = np.where(certain > target, np.inf, 0.0)
    centre = _mass(weights, special.ndtr(quantiles), 2.0)
    rows = np.flatnonzero((centre > target) & (certain <= target))
    if len(rows):
        weights, quantiles, certain = (v if len(v) == 1 else v[rows] for v in (weights, quantiles, certain))
        distance[rows] = _distance(weights, quantiles, certain, target[rows])
    # Less one rounding error, so that dividing by sigma does not lead beyond the distance.
    return (distance * sigma * (1.0 - 4.0 * _EPSILON)).reshape(shape)[()]


def _distance(weights: NDArray, quantiles: NDArray, certain: NDArray, target: NDArray) -> NDArray:
    """The r / sigma at which the mass above `low` is `target` (R,), from below; there is one, above 0.

    weights and quantiles are (R, J), certain (R,), each with a first axis of length 1 where all rows agree.
    """
    total = np.broadcast_to(np.sum(weights, axis=-1), target.shape)
    # With the largest finite quantile q, mass(x) <= certain + (total - certain) Phi(q - x) limits x.
    largest = np.max(np.where(quantiles == np.inf, -np.inf, quantiles), axis=-1)
    least = np.zeros_like(target)
    most = largest - special.ndtri(np.maximum((target - certain) / (total - certain), 1e-300)) + 1e-6
    aim = target * (1.0 + 3.0 * _PROBABILITY_ERROR)  # Slightly inside, so that the last step ends on the safe side.
    distance = np.zeros_like(target)
    active = np.arange(len(target))
    for _ in range(100):
        w, q = (v if len(v) == 1 else v[active] for v in (weights, quantiles))
        x, goal, whole = distance[active], aim[active], total[active]
        shifted = q - x[:, None]
        mass = _mass(w, special.ndtr(shifted), 2.0)
        slope = _weighted_sum(w, np.exp(-0.5 * shifted * shifted))
        enough = mass >= target[active]
        least[active] = np.where(enough, x, least[active])
        most[active] = np.where(enough, most[active], x)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            # The quantile of the mass falls in a line for one threshold, and almost so otherwise.
            quantile = special.ndtri(mass / whole)
            step = (quantile - special.ndtri(goal / whole)) * whole * np.exp(-0.5 * quantile * quantile) / slope
        following = x + step
        inside = (following > least[active]) & (following < most[active])
        distance[active] = np.where(inside, following, 0.5 * (least[active] + most[active]))
        close = enough & (np.abs(step) <= 1e-11 * x)
        active = active[~close & (most[active] - least[active] > 1e-13 * most[active])]
        if not len(active):
            break
    return least


def _mass(weights: NDArray, probabilities: NDArray, caution: float = 1.0) -> NDArray:
    """sum over the last axis of weights * probabilities, less `caution` times its error, and at least 0."""
    relative = _PROBABILITY_ERROR + probabilities.shape[-1] * _EPSILON
    # Probabilities below 1e-80 have larger relative errors: they are left out.
    negligible = 1e-80 * np.sum(weights, axis=-1)
    return np.maximum(_weighted_sum(weights, probabilities) * (1.0 - caution * relative) - negligible, 0.0)


def _weighted_sum(weights: NDArray, values: NDArray) -> NDArray:
    if weights.size == weights.shape[-1]:  # One vector for all rows.
        return (values @ weights.reshape(-1)).reshape(np.broadcast_shapes(weights.shape[:-1], values.shape[:-1]))
    return np.einsum("...j,...j->...", weights, values)


def _check_distribution(
    thresholds: ArrayLike, survival_lower: ArrayLike, sigma: ArrayLike, low: float, high: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Differences of the thresholds, quantiles of the probabilities raised from the right and rounded down, sigma."""
    thresholds, survival, sigma = (np.asarray(v, dtype=np.float64) for v in (thresholds, survival_lower, sigma))
    if not (np.isfinite(low) and np.isfinite(high) and low < high):
        raise ValueError(f"low must be below high and both finite, got low={low}, high={high}")
    if thresholds.ndim == 0 or survival.ndim == 0 or thresholds.shape[-1:] != survival.shape[-1:]:
        raise ValueError(
            f"thresholds and survival_lower must have last axes of one length, got shapes {thresholds.shape} and "
            f"{survival.shape}"
        )
    if thresholds.shape[-1] == 0:
        raise ValueError("at least one threshold is needed, got none")
    outside = ~((thresholds > low) & (thresholds <= high))
    if outside.any():
        raise ValueError(f"thresholds must lie in ({low}, {high}], got {thresholds[outside][0]}")
    if np.any(np.diff(thresholds, axis=-1) < 0.0):
        raise ValueError("thresholds must ascend along the last axis")
    outside = ~((survival >= 0.0) & (survival <= 1.0))
    if outside.any():
        raise ValueError(f"survival_lower must lie in [0, 1], got {survival[outside][0]}")
    wrong = ~((sigma > 0.0) & np.isfinite(sigma))
    if wrong.any():
        raise ValueError(f"sigma must be positive and finite, got {sigma[wrong][0]}")
    weights = np.diff(thresholds, axis=-1, prepend=low)
    survival = np.maximum.accumulate(survival[..., ::-1], axis=-1)[..., ::-1]
    quantiles = special.ndtri(survival)
    finite = np.isfinite(quantiles)
    quantiles = np.where(finite, quantiles - _QUANTILE_ERROR * np.abs(np.where(finite, quantiles, 0.0)), quantiles)
    return weights, quantiles, sigma
