"""Radii from a class probability and the gradient of the smoothed classifier, in several norms.

With u ~ N(0, I) and F(u) = 1 where the base classifier says the class at x + sigma u, let b = E[u F], sigma times the
gradient of the class's probability at x. Always |b|_2 <= rho(q) = phi(Phi^-1(q)), with equality for half-spaces only:
any smaller gradient allows a larger radius than Phi^-1(q). See `docs/first_order.md`.

All functions are vectorised, float64, and never above the exact value; a failure of the solver costs the gain, not the
guarantee.

Source: J. Mohapatra, C.-Y. Ko, T.-W. Weng, P.-Y. Chen, S. Liu and L. Daniel, "Higher-Order Certification for Randomized
Smoothing", 2020. A. Levine, A. Kumar, T. Goldstein and S. Feizi, "Tight Second-Order Certificates for Randomized
Smoothing", 2020, have the same l2 radius.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from lightning_rs.radii.first_order_dual import dual_probability, dual_radius, largest_moment
from lightning_rs.radii.neyman_pearson import radius_from_quantiles

# Below and above these q there is nothing left for the gradient to add, in float64.
_LEAST_Q = 0.5 + 1e-5
_LEAST_REST = 1e-14

# Relative to the radii: larger than the error of the normal distribution function and the arithmetic around it.
_ROUNDING = 1e-13


def first_order_directional_probability(
    q: ArrayLike, m1: ArrayLike, m2: ArrayLike, r: ArrayLike
) -> NDArray[np.float64]:
    """Least probability of the class at distance r along a unit direction v.

    min E[F exp(r x - r^2 / 2)] over F in [0, 1] with E[F] >= q, E[x F] >= m1 and E[y F] >= m2, where x = v.u and y is
    the component of u along b - (v.b) v. It grows with q, m1 and m2, so lower confidence bounds may be put in. Moments
    that are too large for any F to have are cut off.

    Args:
        q: (...) lower bound on the class's probability at the centre, in [0, 1].
        m1: (...) lower bound on v.b, signed: negative where the direction leads down.
        m2: (...) lower bound on |b - (v.b) v|_2, >= 0.
        r: (...) distance in units of sigma, >= 0.

    Returns:
        (...) lower bounds on the probability, float64, within 1e-8 of the exact value unless the moments are within
        1e-6 of the largest possible.

    Raises:
        ValueError: an argument is not a number or out of its range.

    Source: Mohapatra et al. 2020, Theorem 3, with inequalities for equations: those are not monotone in m1.
    """
    q, m1, m2, r = _arrays(q=q, m1=m1, m2=m2, r=r)
    _check("q", q, 0.0, 1.0)
    _check("m1", m1, -np.inf, np.inf)
    _check("m2", m2, 0.0, np.inf)
    _check("r", r, 0.0, np.inf)
    shape, (q, m1, m2, r) = q.shape, (np.ravel(a) for a in (q, m1, m2, r))
    rest = 1.0 - q
    rho = largest_moment(rest)
    # Without the moments the worst is a half-space. It is also the only F that reaches the largest moment upwards.
    upwards = (m1 >= rho) & (q >= 0.5)
    p = special.ndtr(special.ndtri(q) + np.where(upwards, r, -r)) * (1.0 - _ROUNDING)
    p = np.where(r == 0.0, q, np.where(q == 1.0, 1.0, p))
    solve = (q > 0) & (q < 1) & (r > 0) & ~upwards
    m1 = np.clip(m1, -0.5, rho * (1.0 - 1e-9))
    p[solve] = np.fmax(p[solve], dual_probability(rest[solve], m1[solve], m2[solve], r[solve]))
    return np.clip(p, 0.0, 1.0).reshape(shape)[()]


def first_order_l2_radius(q: ArrayLike, b2_upper: ArrayLike, sigma: ArrayLike) -> NDArray[np.float64]:
    """l2 radius from the class's probability and the l2 norm of b = E[u F].

    R = sigma r with Phi(w1) - Phi(w2) = q, phi(w1) - phi(w2) = |b|_2 and Phi(w1 - r) - Phi(w2 - r) = 1/2: the worst
    region is a slab across the gradient. It is sigma Phi^-1(q) where |b|_2 >= phi(Phi^-1(q)), and 0 where q <= 1/2.

    Args:
        q: (...) lower bound on the class's probability, in [0, 1].
        b2_upper: (...) upper bound on |b|_2, >= 0; b is sigma times the gradient of the class's probability.
        sigma: (...) standard deviation of the noise, > 0, in the units of the input.

    Returns:
        (...) l2 radii in the units of the input, float64.

    Raises:
        ValueError: an argument is not a number or out of its range.

    Source: Mohapatra et al. 2020, Corollary 3.1.
    """
    (b2_upper,) = _norms(b2_upper=b2_upper)
    return first_order_radius(q, b2_upper, 0.0, sigma)[0]


def first_order_l1_radius(
    q: ArrayLike, binf_upper: ArrayLike, b2_lower: ArrayLike, sigma: ArrayLike
) -> NDArray[np.float64]:
    """l1 radius from the class's probability, the largest component of b = E[u F] and its l2 norm.

    The corners of the l1 ball lie along the axes, where m1 >= -|b|_inf and m2^2 >= |b|_2^2 - |b|_inf^2.

    Args:
        q: (...) lower bound on the class's probability, in [0, 1].
        binf_upper: (...) upper bound on |b|_inf, >= 0.
        b2_lower: (...) lower bound on |b|_2, >= 0.
        sigma: (...) standard deviation of the noise, > 0.

    Returns, raises and source: as `first_order_l2_radius`, and Theorem 3; the radii are l1.
    """
    binf_upper, b2_lower = _norms(binf_upper=binf_upper, b2_lower=b2_lower)
    return first_order_radius(q, binf_upper, rest_of_norm(b2_lower, binf_upper), sigma)[0]


def first_order_linf_radius(
    q: ArrayLike, b1_upper: ArrayLike, b2_lower: ArrayLike, dimension: ArrayLike, sigma: ArrayLike
) -> NDArray[np.float64]:
    """l-infinity radius from the class's probability, the l1 norm of b = E[u F] and its l2 norm.

    The corners of the cube lie at distance R sqrt(d), where m1 >= -|b|_1 / sqrt(d) and m2^2 >= |b|_2^2 - m1^2. So
    R = sigma r / sqrt(d), a division that the source leaves unsaid.

    Args:
        q: (...) lower bound on the class's probability, in [0, 1].
        b1_upper: (...) upper bound on |b|_1, >= 0.
        b2_lower: (...) lower bound on |b|_2, >= 0.
        dimension: (...) number d of coordinates, >= 1.
        sigma: (...) standard deviation of the noise, > 0.

    Returns, raises and source: as `first_order_l2_radius`, and Theorem 3; the radii are l-infinity.
    """
    b1_upper, b2_lower, d = _norms(b1_upper=b1_upper, b2_lower=b2_lower, dimension=dimension)
    _check("dimension", d, 1.0, np.inf)
    m1 = b1_upper / np.sqrt(d)
    return first_order_radius(q, m1, rest_of_norm(b2_lower, m1), np.asarray(sigma) / np.sqrt(d))[0]


def first_order_subspace_l2_radius(
    q: ArrayLike, bs2_upper: ArrayLike, bperp2_lower: ArrayLike, sigma: ArrayLike
) -> NDArray[np.float64]:
    """l2 radius against perturbations in a subspace S, from the class's probability and the parts of b = E[u F].

    For v in S, m1 >= -|b_S|_2 and m2 >= |b_perp|_2: the part of b that the adversary cannot go along helps.

    Args:
        q: (...) lower bound on the class's probability, in [0, 1].
        bs2_upper: (...) upper bound on |b_S|_2, the part of b in S, >= 0.
        bperp2_lower: (...) lower bound on the l2 norm of the other part, >= 0.
        sigma: (...) standard deviation of the noise, > 0.

    Returns, raises and source: as `first_order_l2_radius`, and Theorem 3; the radii are l2 within S.
    """
    bs2_upper, bperp2_lower = _norms(bs2_upper=bs2_upper, bperp2_lower=bperp2_lower)
    return first_order_radius(q, bs2_upper, bperp2_lower, sigma)[0]


def first_order_radius(
    q: ArrayLike, m1: ArrayLike, m2: ArrayLike, sigma: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """sigma times the r with p(r; q, -m1, m2) = 1/2, and whether the solver failed there.

    Never below sigma Phi^-1(q), nor below the radius that m1 alone gives; a failure falls back to these.

    Args:
        q: (...) lower bound on the class's probability, in [0, 1].
        m1: (...) upper bound on the steepest descent of b among the directions of the threat, >= 0.
        m2: (...) lower bound on the norm of the rest of b across every such direction, >= 0.
        sigma: (...) what a distance of one is, > 0.

    Raises:
        ValueError: an argument is not a number or out of its range.
    """
    q, m1, m2, sigma = _arrays(q=q, m1=m1, m2=m2, sigma=sigma)
    _check("q", q, 0.0, 1.0)
    _check("m1", m1, 0.0, np.inf)
    _check("m2", m2, 0.0, np.inf)
    if not np.all((sigma > 0) & np.isfinite(sigma)):
        raise ValueError(f"sigma must be positive and finite, got {sigma}")
    shape, (q, m1, m2) = q.shape, (np.ravel(a) for a in (q, m1, m2))
    rest = 1.0 - q
    quantile = special.ndtri(q)
    r = np.atleast_1d(radius_from_quantiles(quantile, -quantile, 1.0))
    failed = np.zeros(r.shape, dtype=bool)
    inner = np.flatnonzero((q >= _LEAST_Q) & (rest >= _LEAST_REST))
    # No F descends faster than rho, so an m1 above it says no more; m2 still may.
    m1 = np.minimum(m1[inner], largest_moment(rest[inner]))
    found, failed[inner] = dual_radius(rest[inner], -m1, m2[inner], r[inner])
    r[inner] = np.maximum(r[inner], found * (1.0 - _ROUNDING))
    return (sigma * r.reshape(shape))[()], failed.reshape(shape)[()]


def rest_of_norm(norm: NDArray[np.float64], part: NDArray[np.float64]) -> NDArray[np.float64]:
    """sqrt(norm^2 - part^2), from below; 0 where `part` is not the smaller."""
    return np.sqrt(np.maximum((norm - part) * (norm + part), 0.0)) * (1.0 - 1e-15)


def _arrays(**given: ArrayLike) -> list[NDArray[np.float64]]:
    return [np.array(a, dtype=np.float64) for a in np.broadcast_arrays(*given.values())]


def _norms(**given: ArrayLike) -> list[NDArray[np.float64]]:
    for name, values in given.items():
        _check(name, np.asarray(values, dtype=np.float64), 0.0, np.inf)
    return _arrays(**given)


def _check(name: str, values: NDArray[np.float64], low: float, high: float) -> None:
    if not np.all((values >= low) & (values <= high)):
        allowed = f"lie in [{low:g}, {high:g}]" if np.isfinite(high) else f"be >= {low:g}"
        raise ValueError(f"{name} must {allowed}, got {values}")
