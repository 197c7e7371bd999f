"""One-sided bound on the mean of draws in [0, 1] by betting against every smaller mean."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lightning_rs.bounds.bernstein import _by_rows, _predictable_bets

TOLERANCE = 1e-11  # Relative distance to the supremum at which the search ends.


def betting_lower(samples: ArrayLike, alpha: ArrayLike, truncation: float = 0.5) -> NDArray[np.float64]:
    """Lower confidence bound on a mean: the largest m whose capital max_{t<=n} K_t(m) reaches 1 / alpha.

    K_t(m) = prod_{i<=t} (1 + min(lam_i, truncation / m) (x_i - m)) with the bets
    lam_t = sqrt(2 ln(1/alpha) / (n s_{t-1})), where mu_t = (1/2 + sum_{i<=t} x_i) / (t + 1) and
    s_t = (1/4 + sum_{i<=t} (x_i - mu_i)^2) / (t + 1). The capital falls as m rises. The bound is 0 if no m reaches
    1 / alpha.

    P(bound <= E X) >= 1 - alpha for independent draws X in [0, 1]. The capital of the returned m was found to reach
    1 / alpha with a margin for rounding, so the result never exceeds the exact bound; it lies within about 1e-10 of
    it, relatively, for up to a million draws.

    Args:
        samples: draws in [0, 1], in the order in which they were drawn, float32 or float64, shape (..., n).
        alpha: failure probability of this one bound, in (0, 1), broadcast against the leading shape of `samples`.
        truncation: the largest share of the capital that one draw can lose, in (0, 1): near 1 is best when the draws
            are near 1, and 1/2 is the usual choice.

    Returns:
        The bound, float64, in the broadcast leading shape.

    Raises:
        ValueError: an argument is out of its range.

    Source: I. Waudby-Smith and A. Ramdas, "Estimating Means of Bounded Random Variables by Betting", Journal of the
    Royal Statistical Society B 86, 2024, Theorem 3, one side of the hedged capital process.
    """
    if not 0.0 < truncation < 1.0:
        raise ValueError(f"truncation must lie in (0, 1), got {truncation}")

    def bound(x: NDArray, log_level: NDArray) -> NDArray:
        bets, mean_before = _predictable_bets(x, log_level, sequence=False)
        level = log_level[:, 0]
        # `low` reaches the level, `high` does not: at m = 1 no draw wins anything.
        low, high = np.zeros(len(x)), np.ones(len(x))
        excess, _ = _excess(x, bets, low, truncation, level)
        # The root of the capital to second order in the bets.
        total = bets.sum(axis=-1)
        guess = ((bets * (x - 0.5 * bets * (x - mean_before) ** 2)).sum(axis=-1) - level) / total
        m = np.where((guess > 0.0) & (guess < 1.0), guess, 0.5)
        active = np.flatnonzero(excess >= 0.0)
        for iteration in range(200):
            if active.size == 0:
                break
            # A single row, the common case, stays a view.
            chosen = slice(None) if active.size == len(x) else active
            at = m[active]
            excess, slope = _excess(x[chosen], bets[chosen], at, truncation, level[active])
            reached = excess >= 0.0
            low[active] = np.where(reached, at, low[active])
            high[active] = np.where(reached, high[active], at)
            with np.errstate(divide="ignore", invalid="ignore"):
                step = excess / slope
            done = reached & (np.abs(step) <= TOLERANCE * at)
            done |= high[active] - low[active] <= TOLERANCE * low[active]
            # Newton's method aims a little below the root, so that its last point reaches the level.
            following = at + step - 0.5 * TOLERANCE * at
            inside = (following > low[active]) & (following < high[active]) & (iteration % 8 != 7)
            m[active] = np.where(inside, following, 0.5 * (low[active] + high[active]))
            active = active[~done]
        return low

    return _by_rows(bound, samples, alpha)


def betting_upper(samples: ArrayLike, alpha: ArrayLike, truncation: float = 0.5) -> NDArray[np.float64]:
    """Upper confidence bound on the mean: 1 - `betting_lower` of 1 - samples, whose arguments and errors it has.

    With `betting_lower`, each at alpha / 2, it is the hedged-capital interval at alpha.
    """
    reflected = 1.0 - np.asarray(samples, dtype=np.float64)
    # Rounded up, so that the subtraction cannot undercut the exact bound.
    return np.minimum(np.nextafter(1.0 - betting_lower(reflected, alpha, truncation), 2.0), 1.0)[()]


def _excess(x: NDArray, bets: NDArray, m: NDArray, truncation: float, level: NDArray) -> tuple[NDArray, NDArray]:
    """max_t ln K_t(m) - level, less a bound on its rounding error, and minus its derivative in m; one per row."""
    m = m[:, None]
    with np.errstate(divide="ignore"):
        limit = truncation / m
    stake = np.minimum(bets, limit)
    change = stake * (x - m)
    logs = np.log1p(change)
    path = np.cumsum(logs, axis=-1)
    best = path.argmax(axis=-1)
    factor = 1.0 + change
    # Where the bet is capped, truncation (x / m - 1) has derivative -truncation x / m^2.
    with np.errstate(invalid="ignore"):
        loss = np.where(bets > limit, limit * (x / np.where(m > 0.0, m, 1.0)), bets) / factor
    slope = np.array([row[: end + 1].sum() for row, end in zip(loss, best, strict=True)])
    error = (x.shape[-1] + 32.0) * np.abs(logs).sum(axis=-1) + 4.0 * np.abs(change / factor).sum(axis=-1) + 4.0 * level
    return path[np.arange(len(path)), best] - level - 2.3e-16 * error, slope
