"""Sequential tests of "is the proportion larger than p?", which may be looked at after every draw or on a schedule."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from lightning_rs.bounds.hoeffding import _minus_logarithm
from lightning_rs.checks import check_alpha


def sequential_log_wealth(
    successes: ArrayLike, trials: ArrayLike, p: ArrayLike, truncated: bool = True
) -> NDArray[np.float64]:
    """Logarithm of what a gambler owns after betting on `successes` of `trials` against the proportion p.

    With A successes of N, the gambler mixes over proportions t with the weights t^(-1/2) (1 - t)^(-1/2):

        ln of the mean of (t / p)^A ((1 - t) / (1 - p))^(N - A),

    over all of (0, 1), which is ln B(A + 1/2, N - A + 1/2) - ln B(1/2, 1/2) - A ln p - (N - A) ln(1 - p), or, if
    `truncated`, over (p, 1), which adds ln(1 - I_p(A + 1/2, N - A + 1/2)) - ln(1 - I_p(1/2, 1/2)).

    Rejecting as soon as the result reaches ln(1/alpha), at whatever N, is wrong with probability at most alpha:
    `truncated`, against every proportion <= p; otherwise, against the proportion p alone, and so against both sides if
    the side is that of A / N. The result is 0 before the first draw. Numerical error is rounded down.

    The published code rejects smaller proportions, without truncation, at ln(1/(2 alpha)). For that Ville's inequality
    gives 2 alpha for both sides, and nothing gives each side half of it. Enumerated over all paths of 3,000 draws, it
    is wrong at alpha = .001 with at most 7.8e-4 for p of .5, .52, ..., .98, and with 1.14e-3 at p = .08.

    Args:
        successes: number of successes A so far, integers in [0, trials].
        trials: number of draws N so far, integers >= 0.
        p: the proportion that is bet against, in (0, 1).
        truncated: whether to bet on larger proportions only.

    Returns:
        The log-wealth, float64, in the broadcast shape of the arguments.

    Raises:
        ValueError: an argument is out of its range.

    Source: V. Voracek, "Treatment of Statistical Estimation Problems in Randomized Smoothing for Adversarial
    Robustness", 2024; R. E. Krichevsky and V. K. Trofimov, "The Performance of Universal Encoding", IEEE Transactions
    on Information Theory 27, 1981; level by J. Ville's inequality.
    """
    a, n, p = np.broadcast_arrays(*(np.asarray(v, dtype=np.float64) for v in (successes, trials, p)))
    if not np.all((n >= 0) & (n == np.floor(n)) & np.isfinite(n)):
        raise ValueError(f"trials must be integers >= 0, got {trials}")
    if not np.all((a >= 0) & (a <= n) & (a == np.floor(a))):
        raise ValueError(f"successes must be integers in [0, trials], got {successes} of {trials}")
    _check_proportion(p)
    wealth, error = _krichevsky_trofimov(a, n, p)
    if truncated:
        survival = special.betaincc(a + 0.5, n - a + 0.5, p)
        prior = np.log(2.0 / np.pi * np.arcsin(np.sqrt(1.0 - p)))
        far = survival < 1e-100
        with np.errstate(divide="ignore"):
            near_wealth = wealth + np.log(survival) - prior
        wealth = np.where(far, _far_log_mixture(a, n, p, far) - prior, near_wealth)
        error = np.where(far, 1e-13, error) + 1e-13 + 1e-16 * np.sqrt(n)
    return np.where(n <= 0, 0.0, wealth - error)[()]


def sequential_thresholds(p: ArrayLike, trials: ArrayLike, alpha: float) -> NDArray[np.int64]:
    """The least successes of `trials` with which betting rejects every proportion <= p.

    The smallest A with `sequential_log_wealth`(A, trials, p) >= ln(1/alpha), or trials + 1 if there is none. Rejecting
    once it is reached at any of many looks is wrong with probability at most alpha.

    Args:
        p: the proportion to be exceeded, in (0, 1).
        trials: number of draws, integers >= 0.
        alpha: failure probability of the whole test, in (0, 1).

    Returns:
        The counts, int64, in the broadcast shape of p and trials.

    Raises:
        ValueError: an argument is out of its range.

    Source: that of `sequential_log_wealth`, truncated.
    """
    level = _log_level(alpha)
    p, n = np.broadcast_arrays(np.asarray(p, dtype=np.float64), np.asarray(trials, dtype=np.float64))
    # A success multiplies the wealth by a mean of t / p > 1, a failure by one of (1 - t) / (1 - p) < 1.
    low, high = np.full(n.shape, -1.0), n + 1.0
    while np.any(high - low > 1):
        count = np.floor((low + high) / 2.0)
        reached = sequential_log_wealth(np.clip(count, 0.0, n), n, p) >= level
        searching = high - low > 1
        low, high = np.where(searching & ~reached, count, low), np.where(searching & reached, count, high)
    return high.astype(np.int64)


def sequential_lower(successes: ArrayLike, trials: ArrayLike, alpha: float) -> NDArray[np.float64]:
    """Lower confidence limit on a proportion that holds at all numbers of draws at once, by betting.

    The largest p with `sequential_log_wealth`(successes, trials, p) >= ln(1/alpha); 0 if there is none. With
    probability at least 1 - alpha, no limit of the whole sequence of draws exceeds the true proportion: so it may be
    looked at after every draw, drawing may stop at any time for any reason, and the largest limit so far counts.

    That one alpha is enough for all p at once needs wealth(p) to fall in p wherever it reaches 1/alpha, which it does
    for alpha <= 0.4: by d ln wealth / dp = g/G (1 - 1/wealth) - (A - N p) / (p q), where q = 1 - p, the prior density g
    over its mass G above p is at most 1 / (2 p q), and a wealth of more than e^0.75 needs A - N p > 1/2.

    Args:
        successes: number of successes A so far, integers in [0, trials].
        trials: number of draws N so far, integers >= 0.
        alpha: failure probability of the whole sequence of limits, in (0, 0.4].

    Returns:
        The limit, float64, in the broadcast shape; its wealth was found to reach 1/alpha, so it is never above the
        exact one, and lies within 1e-10 of it, relative to 1 - p.

    Raises:
        ValueError: an argument is out of its range.

    Source: that of `sequential_log_wealth`, truncated.
    """
    level = _log_level(alpha)
    if alpha > 0.4:
        raise ValueError(f"alpha must be at most 0.4 for a sequence of limits, got {alpha}")
    a, n = np.broadcast_arrays(*(np.asarray(v, dtype=np.float64) for v in (successes, trials)))
    shape = a.shape
    sequential_log_wealth(a, n, 0.5)  # Checks the arguments.
    # Batches of examples repeat the same few pairs.
    pairs, places = np.unique(np.stack([a.ravel(), n.ravel()], axis=1), axis=0, return_inverse=True)
    a, n = pairs[:, 0], pairs[:, 1]
    share = a / np.maximum(n, 1.0)
    # `low` reaches the level or is 0, `high` does not.
    low, high = np.zeros_like(a), np.where(a >= n, 1.0 - 1e-16, share)
    p = np.clip(share - np.sqrt(2.0 * share * (1.0 - share) * level / np.maximum(n, 1.0)) - level / (n + 1.0), 0.0, 1.0)
    active = np.flatnonzero(a > 0)
    for iteration in range(200):
        if active.size == 0:
            break
        inside = (p[active] > low[active]) & (p[active] < high[active]) & (iteration % 6 != 5)
        p[active] = at = np.where(inside, p[active], 0.5 * (low[active] + high[active]))
        excess = sequential_log_wealth(a[active], n[active], at) - level
        reached = excess >= 0.0
        low[active] = np.where(reached, at, low[active])
        high[active] = np.where(reached, high[active], at)
        q = 1.0 - at
        hazard = 0.5 / (np.sqrt(at * q) * np.arcsin(np.sqrt(q)))
        slope = hazard * -np.expm1(-np.maximum(excess + level, 0.0)) - (a[active] - n[active] * at) / (at * q)
        with np.errstate(divide="ignore", invalid="ignore"):
            following = at - excess / slope
        # Newton's method aims a little below the root, so that its last point reaches the level.
        p[active] = np.nan_to_num(following - 2e-11 * q, nan=-1.0)
        small = 1e-10 * (1.0 - high[active]) + 4e-16
        done = (high[active] - low[active] <= small) | (reached & (np.abs(following - at) <= 5e-11 * q))
        active = active[~done]
    return low[places.reshape(-1)].reshape(shape)[()]


def union_bound_schedule(max_trials: int, alpha: float) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """When to look, and the failure probability that each look may spend, of a test by the union bound.

    Look k = 1, 2, ... comes after floor(1.1^(k + 10)) + 1 draws at the level 5 alpha / ((k + 4) (k + 5)); all levels
    add up to alpha.

    Args:
        max_trials: the largest number of draws, an integer >= 1.
        alpha: failure probability of the whole test, in (0, 1).

    Returns:
        The numbers of draws that are at most `max_trials`, int64, and the levels, float64, of the same length; both
        are empty if `max_trials` < 3.

    Raises:
        ValueError: an argument is out of its range.

    Source: V. Voracek, "Treatment of Statistical Estimation Problems in Randomized Smoothing for Adversarial
    Robustness", 2024.
    """
    if not (max_trials >= 1 and max_trials == int(max_trials)):
        raise ValueError(f"max_trials must be an integer >= 1, got {max_trials}")
    check_alpha(alpha)
    times: list[int] = []
    numerator, denominator = 11**11, 10**11
    while numerator // denominator + 1 <= max_trials:
        times.append(numerator // denominator + 1)
        numerator, denominator = 11 * numerator, 10 * denominator
    k = np.arange(1.0, len(times) + 1.0)
    return np.array(times, dtype=np.int64), 5.0 * alpha / ((k + 4.0) * (k + 5.0)) * (1.0 - 4e-16)


def union_bound_thresholds(p: ArrayLike, max_trials: int, alpha: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The counts of successes at which a test by the union bound rejects every proportion <= p.

    At look k of `union_bound_schedule`, after t_k draws, it is the smallest c with P(Bin(t_k, p) >= c) <= a_k, or
    t_k + 1 if no count will do. Rejecting once a count is reached is wrong with probability at most alpha.

    Args:
        p: the proportion to be exceeded, in (0, 1), any shape.
        max_trials: the largest number of draws, an integer >= 1.
        alpha: failure probability of the whole test, in (0, 1).

    Returns:
        The numbers of draws t_k, int64, shape (k,), and the counts, int64, shape (..., k) after the shape of p.

    Raises:
        ValueError: an argument is out of its range.

    Source: that of `union_bound_schedule`.
    """
    p = np.asarray(p, dtype=np.float64)
    _check_proportion(p)
    times, levels = union_bound_schedule(max_trials, alpha)
    p, n = p[..., None], times.astype(np.float64)
    # Every count <= `low` has too large a tail, `high` has not; their distance halves.
    low, high = np.broadcast_arrays(np.zeros_like(p), n + 1.0)
    while np.any(high - low > 1):
        count = np.floor((low + high) / 2.0)
        # The tail is rounded up. Where the search has ended, its argument is harmless.
        tail = special.betainc(np.clip(count, 1.0, n), n - np.clip(count, 1.0, n) + 1.0, p) * (1.0 + 1e-11)
        large = tail > levels
        searching = high - low > 1
        low, high = np.where(searching & large, count, low), np.where(searching & ~large, count, high)
    return times, high.astype(np.int64)


def _krichevsky_trofimov(a: NDArray, n: NDArray, p: NDArray) -> tuple[NDArray, NDArray]:
    """ln B(a + 1/2, n - a + 1/2) - ln B(1/2, 1/2) - a ln p - (n - a) ln(1 - p), and a bound on its rounding error.

    By Stirling's formula it is n kl(a / n, p) + ln(2 / (pi n)) / 2 and small terms, so that large numbers never cancel.
    """
    b, size = n - a, np.maximum(n, 1.0)
    excess = np.where(p < 0.5, a - n * p, n * (1.0 - p) - b)
    divergence = _scaled_gap(a, n * p, -excess) + _scaled_gap(b, n * (1.0 - p), excess)
    remainders = _half_remainder(a) + _half_remainder(b) - _factorial_remainder(size)
    wealth = divergence + 0.5 * np.log(2.0 / (np.pi * size)) + remainders
    # The excess is right to a unit in the last place of n times the smaller of p and 1 - p.
    slack = 5e-16 * np.abs(excess) / np.maximum(p, 1.0 - p)
    return wealth, slack + 5e-15 * divergence + 5e-14


def _scaled_gap(count: NDArray, expected: NDArray, difference: NDArray) -> NDArray:
    """count (x - ln(1 + x)) at x = expected / count - 1 = difference / count; its limit at count 0."""
    size = np.maximum(count, 1.0)
    with np.errstate(divide="ignore"):  # Without draws, nothing is expected.
        gap = size * _minus_logarithm(difference / size, np.log(expected / size))
    return np.where(count > 0, gap, expected)


def _half_remainder(z: NDArray) -> NDArray:
    """ln Gamma(z + 1/2) - (z ln z - z + ln(2 pi) / 2), z >= 0."""
    direct = special.gammaln(np.minimum(z, 20.0) + 0.5) - special.xlogy(z, z) + z - 0.5 * np.log(2.0 * np.pi)
    return np.where(z < 20.0, direct, _odd_series(z, -1 / 24, 7 / 2880, -31 / 40320, 127 / 215040, -511 / 608256))


def _factorial_remainder(n: NDArray) -> NDArray:
    """ln n! - (n ln n - n + ln(2 pi n) / 2), n >= 1."""
    direct = special.gammaln(np.minimum(n, 20.0) + 1.0) - n * np.log(n) + n - 0.5 * np.log(2.0 * np.pi * n)
    return np.where(n < 20.0, direct, _odd_series(n, 1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188))


def _odd_series(z: NDArray, *coefficients: float) -> NDArray:
    """The sum of c_k / z^(2 k + 1), for z >= 20."""
    z = np.maximum(z, 20.0)
    return np.polynomial.polynomial.polyval(1.0 / (z * z), coefficients) / z


def _far_log_mixture(a: NDArray, n: NDArray, p: NDArray, far: NDArray) -> NDArray:
    """The truncated log-wealth before its prior's normalisation, where the mixture is that of a remote tail.

    There, ln I_q(b, a) and the log-wealth before truncation are huge and opposite. With I_q(b, a) =
    q^b p^a / (b B(a, b)) / (1 + d_1 / (1 + d_2 / ...)), all that is huge cancels in the formula, and the continued
    fraction is summed by Lentz's method, for the elements where `far` holds.
    """
    result = np.full_like(p, -np.inf)
    if not far.any():
        return result
    first, second, q = n[far] - a[far] + 0.5, a[far] + 0.5, 1.0 - p[far]
    c, d = np.ones_like(q), 1.0 / (1.0 - (first + second) * q / (first + 1.0))
    fraction = d.copy()
    for m in range(1, 100_000):
        middle = first + 2.0 * m
        previous = fraction
        for term in (
            m * (second - m) * q / ((middle - 1.0) * middle),
            -(first + m) * (first + second + m) * q / (middle * (middle + 1.0)),
        ):
            d, c = 1.0 / (1.0 + term * d), 1.0 + term / c
            fraction = fraction * d * c
        if np.all(np.abs(fraction - previous) <= 1e-15 * fraction):
            break
    result[far] = 0.5 * np.log(p[far] * q) - np.log(first) + np.log(fraction) - np.log(np.pi)
    return result


def _log_level(alpha: float) -> float:
    return float(np.log(1.0 / check_alpha(alpha))) * (1.0 + 1e-15)


def _check_proportion(p: NDArray) -> None:
    if not np.all((p > 0) & (p < 1)):
        raise ValueError(f"p must lie in (0, 1), got {p}")
