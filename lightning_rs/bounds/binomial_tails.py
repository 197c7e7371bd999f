"""Distribution function of binomial laws, for many at once and for any number of trials."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

Array = NDArray[np.float64]

# Both counts have to be this large for the expansion: four terms of it are within 3e-10 then, relative.
_LEAST_COUNT = 50.0
# Up to this many trials 1 - p does where p is small: the digits that it has lost cost 1e-11 here.
_FAST_TRIALS = 2e5
# At so many at once the arrays stay in the processor's cache.
_BLOCK = 4096
# Terms t^(2 k + j) of the Taylor series up to here.
_ORDER = 6


def binomial_cdf(k: ArrayLike, n: ArrayLike, p: ArrayLike, q: ArrayLike) -> Array:
    """P(Bin(n, p) <= k) with q = 1 - p, for every k, within 1e-9 relative up to n = 2e5; see below for more trials.

    It is I_q(a, b), a = n - k, b = k + 1. With nu = a + b, x0 = a / nu and -eta^2 / 2 = x0 ln(q / x0) +
    (1 - x0) ln(p / (1 - x0)), eta with the sign of q - x0,

        I_q(a, b) = Phi(z) + phi(z) sum_i S_i(eta) nu^(-i - 1/2),   z = eta sqrt(nu)

    in the sense of an asymptotic series, uniformly in eta; the S_i follow from one another: S_0 = (1 - f) / eta and
    S_i = (S_(i-1)' - G_i f) / eta, with f = eta sqrt(x0 (1 - x0)) / (q - x0) and G_i what keeps S_i finite at 0. Four
    are used where a and b are 50 or more, in closed form where |z| > 1 and as Taylor series where that would cancel.
    SciPy's functions, whose time grows with n, compute the others.

    Args:
        k: integers.
        n: numbers of trials, integers >= 1.
        p: probabilities in [0, 1].
        q: 1 - p, with the digits that p has lost where it is close to 1.

    Returns:
        The probabilities, in the broadcast shape. Beyond n = 2e5 the error grows with the conditioning on p and q.

    Source: N. M. Temme, "Special Functions", 1996, section 11.3.3.2; NIST Digital Library of Mathematical Functions,
    8.18.9.
    """
    arrays = [np.asarray(v, dtype=np.float64) for v in (k, n, p, q)]
    if any(v.shape != arrays[0].shape for v in arrays):
        arrays = np.broadcast_arrays(*arrays)
    shape = arrays[0].shape
    k, n, p, q = (v.ravel() for v in arrays)
    result = np.empty(k.shape)
    # Where p or q is 0; what the closed form makes of a z near 0 is not used.
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        for start in range(0, k.size, _BLOCK):
            part = slice(start, start + _BLOCK)
            result[part] = _block(k[part], n[part], p[part], q[part])
    return result.reshape(shape)


def _block(k: Array, n: Array, p: Array, q: Array) -> Array:
    least = np.minimum(k + 1.0, n - k)
    large = least >= _LEAST_COUNT
    if large.all():
        return _expansion(k, n, p, q)
    result = np.where(k < 0.0, 0.0, 1.0)
    rows = np.flatnonzero(large)
    result[rows] = _expansion(k[rows], n[rows], p[rows], q[rows])
    rows = np.flatnonzero((least >= 1.0) & ~large)
    result[rows] = _of_small_counts(k[rows], n[rows], p[rows], q[rows])
    return result


def _of_small_counts(k: Array, n: Array, p: Array, q: Array) -> Array:
    result = special.betainc(n - k, k + 1.0, np.where(p <= 0.5, 1.0 - p, q))
    rows = np.flatnonzero((p <= 0.5) & (n > _FAST_TRIALS))
    result[rows] = special.betaincc(k[rows] + 1.0, n[rows] - k[rows], p[rows])
    return result


def _expansion(k: Array, n: Array, p: Array, q: Array) -> Array:
    a, b, nu = n - k, k + 1.0, n + 1.0
    # nu (q - x0), from the smaller of p and q.
    ahead = np.where(p < 0.5, b - nu * p, nu * q - a)
    exponent = np.maximum(-a * np.log1p(ahead / a) - b * np.log1p(-ahead / b), 0.0)
    z = np.copysign(np.sqrt(2.0 * exponent), ahead)
    deviation, t = np.sqrt(a * b), 1.0 / np.sqrt(nu)
    skew = (b - a) / deviation
    correction = _closed(z, deviation / ahead, skew, t)
    rows = np.flatnonzero(np.abs(z) <= 1.0)
    correction[rows] = _taylor(z[rows], skew[rows], t[rows])
    result = 0.5 * special.erfc(-math.sqrt(0.5) * z) + np.exp(-exponent) * (correction / math.sqrt(2.0 * math.pi))
    return np.minimum(np.maximum(result, 0.0), 1.0)


def _closed(z: Array, u: Array, s: Array, t: Array) -> Array:
    """The sum, with u = f / eta, s = (1 - 2 x0) / sqrt(x0 (1 - x0)) and t = nu^(-1/2).

    u' = -eta P(u) with P = u^3 + s u^2 - u, so that S_i = (-1)^i (2 i - 1)!! / eta^(2 i + 1) - Q_i(u) with Q_0 = u and
    Q_(i+1) = G_(i+1) u - P Q_i'.
    """
    h = t * t
    su, ss = s * u, s * s
    cubic = u * (u * u + su - 1.0)
    first = 3.0 * u * u + 2.0 * su - 1.0
    second = 6.0 * u + 2.0 * s
    g1 = (ss + 3.0) / -12.0
    g2 = 0.5 * g1 * g1
    g3 = 5 / 128 + ss * (41 / 640 + ss * (139 / 5760 + ss * (139 / 51840)))
    inner = first - g1
    q1 = g1 * u - cubic
    q2 = g2 * u + cubic * inner
    q3 = g3 * u - cubic * (first * inner + cubic * second + g2)
    w = 1.0 / z
    ww = w * w
    return w * (1.0 - ww * (1.0 - ww * (3.0 - 15.0 * ww))) - t * (u + h * (q1 + h * (q2 + h * q3)))


def _series() -> NDArray[np.float64]:
    """Coefficients of S_i (first axis) in powers of eta (second) and of s^2 (third); where that of eta is even, the
    polynomial in s^2 is to be multiplied by s."""
    poly = np.polynomial.polynomial

    def product(a: list[Array], b: list[Array], power: int) -> Array:
        total = np.zeros(1)
        for i in range(max(0, power + 1 - len(b)), min(power + 1, len(a))):
            total = poly.polyadd(total, poly.polymul(a[i], b[power - i]))
        return total

    # eta f' - f = -f^3 - s eta f^2 + eta^2 f.
    f = [np.ones(1)]
    for j in range(1, _ORDER + 2):
        squares = [product(f, f, i) for i in range(j + 1)]
        known = poly.polyadd(product(squares, f, j), poly.polymulx(squares[j - 1]))
        f.append((poly.polysub(f[j - 2], known) if j > 1 else -known) / (j + 2))
    series = np.zeros((4, _ORDER + 1, (_ORDER + 3) // 2))
    s = [-c for c in f[1:]]
    for i in range(4):
        for j, polynomial in enumerate(s):
            coefficients = polynomial[(j + 1) % 2 :: 2]
            series[i, j, : coefficients.size] = coefficients
        s = [poly.polysub((j + 2) * s[j + 2], poly.polymul(s[1], f[j + 1])) for j in range(len(s) - 2)]
    return series


_SERIES = _series()


def _taylor(z: Array, s: Array, t: Array) -> Array:
    """The sum where |z| <= 1."""
    ss = s * s
    terms = _SERIES[:, :, -1, None] * ss
    for power in range(_SERIES.shape[2] - 2, 0, -1):
        terms += _SERIES[:, :, power, None]
        terms *= ss
    terms += _SERIES[:, :, 0, None]
    terms[:, ::2] *= s
    for powers, factor in ((_ORDER, z * t), (3, t * t)):
        total = terms[..., powers, :]
        for power in range(powers - 1, -1, -1):
            total = total * factor + terms[..., power, :]
        terms = total
    return terms * t
