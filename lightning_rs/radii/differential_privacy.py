"""Certified l2 radii by differential privacy: classical and analytic Gaussian mechanism, and the Renyi divergence.

All three see only e0 and e1, like `neyman_pearson_radius`, which is never smaller. They are here to reproduce published
results. Each maximises over a free parameter, any value of which certifies: an imprecise search can only cost radius.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from lightning_rs.radii.neyman_pearson import neyman_pearson_radius

_EPSILON = float(np.finfo(np.float64).eps)
_LOG_2 = float(np.log(2.0))

# Where e1 is 0, any epsilon is allowed and the radius grows without end, like its square root.
_LARGEST_EPSILON = 40.0

# Four nodes integrate the difference of Mills ratios to rounding error over widths up to _NARROW.
_NARROW = 0.1
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(4)


def lecuyer_radius(e0: ArrayLike, e1: ArrayLike, sigma: ArrayLike) -> NDArray[np.float64]:
    """Radius certified by the classical Gaussian mechanism of differential privacy.

    R = max over 0 < eps <= min(1, ln(e0 / e1) / 2) of sigma eps / sqrt(2 ln(1.25 / delta)), where
    delta = (e0 - e1 exp(2 eps)) / (1 + exp(eps)) is the largest that keeps the certified class ahead.

    At most .70 of `neyman_pearson_radius` for e0 >= .01. The noise is added to the input, so its sensitivity is 1.

    Args:
        e0: lower bound on the expected score (or probability) of the certified class, in [0, 1].
        e1: upper bound on that of every other class, in [0, 1].
        sigma: standard deviation of the noise, > 0, in the units of the input.

    Returns:
        The l2 radius in the units of the input, float64, broadcast; 0 where e0 <= e1; never above the exact value.

    Raises:
        ValueError: an expectation outside [0, 1], or sigma not positive and finite.

    Source: M. Lecuyer, V. Atlidakis, R. Geambasu, D. Hsu and S. Jana, "Certified Robustness to Adversarial Examples
    with Differential Privacy", 2019, Proposition 1, with the Gaussian mechanism of C. Dwork and A. Roth, "The
    Algorithmic Foundations of Differential Privacy", 2014, Theorem A.1.
    """
    return _radius_of_leading(_lecuyer, e0, e1, sigma)


def renyi_radius(e0: ArrayLike, e1: ArrayLike, sigma: ArrayLike) -> NDArray[np.float64]:
    """Radius certified by the Renyi divergence between the noise at two centres.

    R = sigma sup over w > 1 of sqrt(-(2 / w) ln(1 - e0 - e1 + 2 m)), where m = ((e0^(1-w) + e1^(1-w)) / 2)^(1/(1-w)) is
    the power mean. For w -> 1, often the best, m is sqrt(e0 e1), and R = sigma sqrt(-2 ln(1 - (sqrt e0 - sqrt e1)^2)).

    At most .92 of `neyman_pearson_radius` for e1 >= 1e-6; infinite for e0 = 1 with e1 = 0.

    Arguments, result and errors are those of `lecuyer_radius`.

    Source: B. Li, C. Chen, W. Wang and L. Carin, "Certified Adversarial Robustness with Additive Noise", 2019,
    Theorem 1 and Lemma 1.
    """
    return _radius_of_leading(_renyi, e0, e1, sigma)


def analytic_gaussian_radius(e0: ArrayLike, e1: ArrayLike, sigma: ArrayLike) -> NDArray[np.float64]:
    """Radius certified by the analytic Gaussian mechanism of differential privacy.

    R = sigma max over 0 <= eps < ln(e0 / e1) / 2 of the t that solves
    Phi(t/2 - eps/t) - exp(eps) Phi(-t/2 - eps/t) = (e0 - e1 exp(2 eps)) / (1 + exp(eps)).
    At eps = 0 that is t = 2 Phi^-1(1/2 + (e0 - e1) / 4). Where e1 = 0, every eps is allowed and the supremum is
    infinite; eps is then held to 40, which makes the radius finite, and smaller than for the least positive e1.

    Tends to `neyman_pearson_radius` as e1 -> e0 <= 1/2, and is below it elsewhere.

    Arguments, result and errors are those of `lecuyer_radius`.

    Source: A. C. Cullen, S. Liu, P. Montague, S. M. Erfani and B. I. P. Rubinstein, "It's Simplex! Disaggregating
    Measures to Improve Certified Robustness", 2024, equation 18, with B. Balle and Y.-X. Wang, "Improving the Gaussian
    Mechanism for Differential Privacy: Analytical Calibration and Optimal Denoising", 2018, Theorem 8.
    """
    return _radius_of_leading(_analytic_gaussian, e0, e1, sigma)


def _radius_of_leading(
    formula: Callable[[NDArray, NDArray], NDArray], e0: ArrayLike, e1: ArrayLike, sigma: ArrayLike
) -> NDArray[np.float64]:
    """sigma * formula(e0, e1), not above the Neyman-Pearson radius, where e0 > e1; 0 elsewhere."""
    e0, e1, sigma = (np.asarray(v, dtype=np.float64) for v in (e0, e1, sigma))
    for name, value in (("e0", e0), ("e1", e1)):
        outside = ~((value >= 0.0) & (value <= 1.0))
        if outside.any():
            raise ValueError(f"{name} must lie in [0, 1], got {value[outside][0]}")
    wrong = ~((sigma > 0.0) & np.isfinite(sigma))
    if wrong.any():
        raise ValueError(f"sigma must be positive and finite, got {sigma[wrong][0]}")
    e0, e1, sigma = np.broadcast_arrays(e0, e1, sigma)
    result = np.zeros(e0.shape)
    leading = np.asarray(e0 > e1)
    if leading.any():
        e0, e1, sigma = e0[leading], e1[leading], sigma[leading]
        with np.errstate(divide="ignore", over="ignore", under="ignore", invalid="ignore"):
            radius = sigma * formula(e0, e1)
        # An exact 0 or 1 leaves Neyman-Pearson without a finite limit.
        limit = np.where((e1 > 0.0) & (e0 < 1.0), neyman_pearson_radius(e0, e1, sigma), np.inf)
        result[leading] = np.minimum(radius, limit)
    return result[()]


def _log_ratio(e0: NDArray, e1: NDArray) -> NDArray:
    """ln(e0 / e1), with full relative precision where e0 is near e1."""
    return np.where(e0 < 2.0 * e1, np.log1p((e0 - e1) / e1), np.log(e0) - np.log(e1))


def _privacy_slack(e0: NDArray, e1: NDArray, eps: NDArray) -> NDArray:
    """e0 - e1 exp(2 eps), less the error of its evaluation."""
    return (e0 - e1) * (1.0 - 4.0 * _EPSILON) - e1 * np.expm1(2.0 * eps) * (1.0 + 4.0 * _EPSILON)


def _lecuyer(e0: NDArray, e1: NDArray) -> NDArray:
    def inverse_delta(eps):
        """ln(1.25 / delta), its derivative in eps, and whether delta is positive."""
        slack = _privacy_slack(e0, e1, eps)
        valid = slack > 0.0
        value = np.log(1.25) - np.log(slack) + np.log1p(np.exp(eps))
        slope = 2.0 * e1 * np.exp(2.0 * eps) / slack + special.expit(eps)
        return value, slope, valid

    def candidate(eps):
        value, _, valid = inverse_delta(eps)
        return np.where(valid, eps / np.sqrt(2.0 * value), 0.0)

    # eps / sqrt(value) rises as long as eps * slope < 2 * value, and falls from there on: value is convex. The maximum
    # is flat, so 25 halvings leave no trace of the search in the radius.
    low, high = np.zeros_like(e0), np.minimum(1.0, 0.5 * _log_ratio(e0, e1))
    for _ in range(25):
        middle = 0.5 * (low + high)
        value, slope, valid = inverse_delta(middle)
        rising = valid & (middle * slope < 2.0 * value)
        low, high = np.where(rising, middle, low), np.where(rising, high, middle)
    # The slack is already rounded down; what is left are a few roundings.
    return np.maximum(candidate(low), candidate(high)) * (1.0 - 1e-14)


def _renyi(e0: NDArray, e1: NDArray) -> NDArray:
    total = e0 + e1
    relative = (e0 - e1) / total
    # ln of geometric over arithmetic mean, by a form without cancellation on either side.
    geometric = 0.5 * np.where(
        relative < 0.5,
        np.log1p(-(relative**2)),
        2.0 * _LOG_2 + np.log(e0) + np.log(e1) - 2.0 * np.log(total),
    )
    half_ratio = 0.5 * _log_ratio(e0, e1)

    def square(excess):
        """-(2 / w) ln(1 - e0 - e1 + 2 m) at w = 1 + excess.

        ln of power over arithmetic mean is ln(geometric / arithmetic) - ln cosh(excess ln(e0/e1) / 2) / excess. Both
        are negative, so e0 + e1 - 2 m comes without cancellation. The difference of 1 and its powers would drown it in
        rounding errors where e1 is near e0, whose largest would be taken for the radius.
        """
        y = excess * half_ratio
        log_cosh = np.where(
            y < 1.0, np.log1p(2.0 * np.sinh(0.5 * np.minimum(y, 1.0)) ** 2), y + np.log1p(np.exp(-2.0 * y)) - _LOG_2
        )
        log_mean = geometric - np.where(excess > 0.0, log_cosh / excess, 0.0)
        lost = -total * np.expm1(log_mean)
        # For lost >= 1/2, 1 - e0 is exact, and 2 m >= 2 e1, so all terms below are positive.
        rest = (1.0 - e0) + (total * np.exp(log_mean) - e1)
        return 2.0 / (1.0 + excess) * np.where(lost < 0.5, -np.log1p(-np.minimum(lost, 0.5)), -np.log(rest))

    grid = np.concatenate([[0.0], np.exp(np.arange(-8.0, 6.1, 0.5))])
    best, at = square(np.zeros_like(e0)), np.zeros(e0.shape, dtype=np.int64)
    for k in range(1, len(grid)):
        value = square(np.full_like(e0, grid[k]))
        at, best = np.where(value > best, k, at), np.maximum(best, value)

    golden = 0.5 * (np.sqrt(5.0) - 1.0)
    low, high = grid[np.maximum(at - 1, 0)], grid[np.minimum(at + 1, len(grid) - 1)]
    left, right = high - golden * (high - low), low + golden * (high - low)
    at_left, at_right = square(left), square(right)
    for _ in range(22):
        keep_left = at_left > at_right
        low, high = np.where(keep_left, low, left), np.where(keep_left, right, high)
        point = np.where(keep_left, high - golden * (high - low), low + golden * (high - low))
        value = square(point)
        best = np.maximum(best, value)
        left, right = np.where(keep_left, point, right), np.where(keep_left, left, point)
        at_left, at_right = np.where(keep_left, value, at_right), np.where(keep_left, at_left, value)
    # The roundings above add up to less than 3e-14 of the square.
    return np.sqrt(best) * (1.0 - 1e-13)


def _analytic_gaussian(e0: NDArray, e1: NDArray) -> NDArray:
    top = np.where(e1 > 0.0, 0.5 * _log_ratio(e0, e1), _LARGEST_EPSILON)

    def solve(eps, iterations):
        """The t at which delta reaches its target, 0 if that is not positive; ln target; whether t rises with eps."""
        exponential = np.exp(eps)
        target = _privacy_slack(e0, e1, eps) / (1.0 + exponential)
        valid = target > 0.0
        target = np.where(valid, target, 0.25)
        log_target = np.log(target)
        # delta is at most Phi(t/2 - eps/t), and at most its value at eps = 0, so t starts below the solution. There
        # Newton's method climbs to it without overshooting: ln delta is concave in ln t, because the derivative of
        # delta in ln t is log-concave.
        quantile = special.ndtri(target)
        root = np.sqrt(quantile**2 + 2.0 * eps)
        t = np.where(quantile < 0.0, 2.0 * eps / (root - quantile), quantile + root)
        t = np.maximum(t, 2.0 * np.sqrt(2.0) * special.erfinv(target))
        for _ in range(iterations):
            log_delta, elasticity = _log_delta(eps, t)
            t = t * np.exp((log_target - log_delta) / elasticity)
        # The derivative of t has the sign of d target / d eps - d delta / d eps.
        spent = (2.0 * exponential * e1 + target) / (1.0 + exponential)
        rising = valid & (special.ndtr(-0.5 * t - eps / t) > spent)
        return np.where(valid, t, 0.0), log_target, rising

    # There may be two maxima, one of them at eps = 0, hence the grid.
    grid = np.linspace(0.0, 1.0, 17)
    best, at = np.zeros_like(e0), np.zeros(e0.shape, dtype=np.int64)
    for k, fraction in enumerate(grid):
        t, _, _ = solve(fraction * top, 4)
        at, best = np.where(t > best, k, at), np.maximum(best, t)
    low, high = grid[np.maximum(at - 1, 0)], grid[np.minimum(at + 1, len(grid) - 1)]
    eps = grid[at] * top
    for _ in range(16):
        middle = 0.5 * (low + high)
        t, _, rising = solve(middle * top, 5)
        better = t > best
        eps, best = np.where(better, middle * top, eps), np.where(better, t, best)
        low, high = np.where(rising, middle, low), np.where(rising, high, middle)

    t, log_target, _ = solve(eps, 8)
    # delta is evaluated to within 1e-11 of its value. Its elasticity in t is near 1 or larger, so that the first step
    # back from the solution suffices.
    certified = np.zeros_like(t)
    for shrink in (2e-11, 1e-10, 1e-8, 1e-4):
        shorter = t * (1.0 - shrink)
        fits = _log_delta(eps, np.where(t > 0.0, shorter, 1.0))[0] <= log_target - 1e-11
        certified = np.where((certified == 0.0) & fits & (t > 0.0), shorter, certified)
        if np.all((certified > 0.0) | (t == 0.0)):
            break
    return certified


def _log_delta(eps: NDArray, t: NDArray) -> tuple[NDArray, NDArray]:
    """ln of Phi(a) - exp(eps) Phi(b), and its derivative in ln t, where a, b = -eps/t +- t/2, t > 0.

    Since exp(eps) phi(b) = phi(a), it equals phi(a) (M(a) - M(b)) with the Mills ratio M = Phi / phi, and its
    derivative in t is phi(a).
    """
    centre = -eps / t
    a = centre + 0.5 * t
    difference = _mills_ratio(a) - _mills_ratio(centre - 0.5 * t)
    narrow = t < _NARROW
    if narrow.any():
        # The difference of nearly equal numbers is replaced by the integral of the derivative M'(x) = 1 + x M(x).
        width, middle = t[narrow], centre[narrow]
        x = middle + 0.5 * width * _NODES[:, None]
        difference[narrow] = 0.5 * width * (_WEIGHTS @ (1.0 + x * _mills_ratio(x)))
    return -0.5 * a * a - 0.5 * np.log(2.0 * np.pi) + np.log(difference), t / difference


def _mills_ratio(x: NDArray) -> NDArray:
    """Phi(x) / phi(x)."""
    return np.sqrt(0.5 * np.pi) * special.erfcx(-np.sqrt(0.5) * x)
