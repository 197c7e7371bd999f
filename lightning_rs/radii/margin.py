"""Certified l2 radii from a margin: the lead of one expected score over all others."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special


def margin_radius(margin: ArrayLike, sigma: ArrayLike) -> NDArray[np.float64]:
    """Radius within which an expected score that leads by `margin` stays ahead, whatever the classifier.

    R = sigma Phi^-1((1 + margin) / 2), and 0 where that is not positive. It is the largest that follows from a margin
    alone: (1 + score difference) / 2 is a function into [0, 1], and the quantile of its smoothing is Lipschitz.

    Args:
        margin: lower bound on the expected score of one class minus that of every other, in [-1, 1].
        sigma: standard deviation of the noise, > 0, in the units of the input.

    Returns:
        The l2 radius in the units of the input, float64, broadcast; infinite at margin 1; never above the exact value.

    Raises:
        ValueError: a margin outside [-1, 1], or sigma not positive and finite.

    Source: H. Salman, G. Yang, J. Li, P. Zhang, H. Zhang, I. Razenshteyn and S. Bubeck, "Provably Robust Deep Learning
    via Adversarially Trained Smoothed Classifiers", 2019, Lemma 2.
    """
    margin, sigma = _check(margin, sigma)
    # (1 - margin) / 2 is exact for margins >= 1/2. Below, its rounding error would show in small quantiles.
    large = -special.ndtri(0.5 * (1.0 - np.maximum(margin, 0.5)))
    small = np.sqrt(2.0) * special.erfinv(np.clip(margin, 0.0, 0.5))
    return (sigma * np.where(margin < 0.5, small, large) * (1.0 - 3e-15))[()]


def lipschitz_radius(
    margin: ArrayLike, sigma: ArrayLike, base_lipschitz: ArrayLike | None = None
) -> NDArray[np.float64]:
    """Radius within which an expected score that leads by `margin` stays ahead, by Lipschitz continuity.

    Without base_lipschitz, R = margin sigma sqrt(pi / 2), from smoothing alone; `margin_radius` is never smaller. With
    it, R = margin / (c erf(1 / (sqrt(2) sigma c))), where c = sqrt(2) base_lipschitz bounds how fast a difference of
    two scores changes before smoothing. It tends to margin / c as c -> 0 and to the former radius as c -> infinity.
    0 where the margin is not positive.

    Args:
        margin: lower bound on the expected score of one class minus that of every other, in [-1, 1].
        sigma: standard deviation of the noise, > 0, in the units of the input.
        base_lipschitz: l2-to-l2 Lipschitz constant of the map from the input to all scores before smoothing, > 0;
            it must be a proved upper bound that includes input normalisation. None, or infinity, if none is known.

    Returns:
        The l2 radius in the units of the input, float64, broadcast; never above the exact value.

    Raises:
        ValueError: a margin outside [-1, 1], sigma not positive and finite, or base_lipschitz not positive.

    Source: B. Delattre, A. Araujo, Q. Barthelemy and A. Allauzen, "The Lipschitz-Variance-Margin Tradeoff for Enhanced
    Randomized Smoothing", 2024, Theorem 1, applied to the difference of two scores, which ranges over [-1, 1].
    """
    margin, sigma = _check(margin, sigma)
    constant = np.sqrt(2.0 / np.pi) / sigma
    if base_lipschitz is not None:
        base = np.asarray(base_lipschitz, dtype=np.float64)
        wrong = ~(base > 0.0)
        if wrong.any():
            raise ValueError(f"base_lipschitz must be positive, got {base[wrong][0]}")
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            base = np.sqrt(2.0) * base
            smoothed = base * special.erf(1.0 / (np.sqrt(2.0) * sigma * base))
        # Infinite base constants give infinity times 0; the smoothed constant is then that of smoothing alone.
        constant = np.fmin(smoothed, constant)
    with np.errstate(over="ignore"):
        return (np.maximum(margin, 0.0) / constant * (1.0 - 1e-14))[()]


def _check(margin: ArrayLike, sigma: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    margin, sigma = (np.asarray(v, dtype=np.float64) for v in (margin, sigma))
    outside = ~((margin >= -1.0) & (margin <= 1.0))
    if outside.any():
        raise ValueError(f"margin must lie in [-1, 1], got {margin[outside][0]}")
    wrong = ~((sigma > 0.0) & np.isfinite(sigma))
    if wrong.any():
        raise ValueError(f"sigma must be positive and finite, got {sigma[wrong][0]}")
    return margin, sigma
