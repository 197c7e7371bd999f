"""Lower bounds on P(score >= threshold), at several thresholds at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lightning_rs.bounds.clopper_pearson import clopper_pearson_lower


def dkw_epsilon(trials: ArrayLike, alpha: ArrayLike) -> NDArray[np.float64]:
    """Half-width of the one-sided confidence band of a distribution function: sqrt(ln(1/alpha) / (2 trials)).

    P(sup_s (F_n(s) - F(s)) > epsilon) <= alpha, for the empirical distribution function F_n of independent draws. The
    inequality is proved for alpha <= 1/2; for a larger alpha the result is that for 1/2, which holds all the more.
    Numerical error is rounded up.

    Args:
        trials: number of draws n, integers >= 1.
        alpha: failure probability of the band, in (0, 1).

    Returns:
        The half-width, float64, in the broadcast shape of the arguments.

    Raises:
        ValueError: an argument is out of its range.

    Source: P. Massart, "The Tight Constant in the Dvoretzky-Kiefer-Wolfowitz Inequality", Annals of Probability 18,
    1990, Theorem 1.
    """
    n, a = np.broadcast_arrays(np.asarray(trials, dtype=np.float64), np.asarray(alpha, dtype=np.float64))
    if not np.all((n >= 1) & (n == np.floor(n)) & np.isfinite(n)):
        raise ValueError(f"trials must be integers >= 1, got {trials}")
    if not np.all((a > 0) & (a < 1)):
        raise ValueError(f"alpha must lie in (0, 1), got {alpha}")
    return (np.sqrt(-np.log(np.minimum(a, 0.5)) / (2.0 * n)) * (1.0 + 1e-15))[()]


def dkw_survival_lower(exceedances: ArrayLike, trials: ArrayLike, alpha: ArrayLike) -> NDArray[np.float64]:
    """Lower bounds on P(score >= threshold) that hold at all thresholds at once: max(0, count / trials - epsilon).

    epsilon is `dkw_epsilon`. With probability at least 1 - alpha all bounds hold, whatever the number of thresholds,
    and the thresholds may be chosen from the same draws. Numerical error is rounded down.

    Args:
        exceedances: number of draws >= each threshold, thresholds ascending on the last axis: integers in
            [0, trials] that do not increase, shape (..., J).
        trials: number of draws n, integers >= 1, broadcast against the leading shape of `exceedances`.
        alpha: failure probability of the whole band, in (0, 1), broadcast against the leading shape.

    Returns:
        The bounds, float64, non-increasing along the last axis, shape (..., J).

    Raises:
        ValueError: an argument is out of its range.

    Source: P. Massart, "The Tight Constant in the Dvoretzky-Kiefer-Wolfowitz Inequality", Annals of Probability 18,
    1990, Theorem 1; used by A. Kumar, A. Levine, S. Feizi and T. Goldstein, "Certifying Confidence via Randomized
    Smoothing", 2020.
    """
    k, n = _check_counts(exceedances, trials)
    epsilon = np.asarray(dkw_epsilon(trials, alpha))[..., None]
    return np.maximum(0.0, (k / n - epsilon) * (1.0 - 4e-16) - 2.3e-16)


def binomial_survival_lower(exceedances: ArrayLike, trials: ArrayLike, alpha: ArrayLike) -> NDArray[np.float64]:
    """Lower bounds on P(score >= threshold), at J fixed thresholds at once: Clopper-Pearson at alpha / J each.

    With probability at least 1 - alpha all bounds hold. The thresholds must not depend on the draws that are counted.
    Each bound is raised to that of any higher threshold, which it cannot undercut. Numerical error is rounded down.

    Args:
        exceedances: number of draws >= each threshold, thresholds ascending on the last axis: integers in
            [0, trials] that do not increase, shape (..., J).
        trials: number of draws n, integers >= 1, broadcast against the leading shape of `exceedances`.
        alpha: failure probability of all bounds together, in (0, 1), broadcast against the leading shape.

    Returns:
        The bounds, float64, non-increasing along the last axis, shape (..., J).

    Raises:
        ValueError: an argument is out of its range.

    Source: C. J. Clopper and E. S. Pearson, "The Use of Confidence or Fiducial Limits Illustrated in the Case of the
    Binomial", Biometrika 26, 1934, with Bonferroni's inequality over the thresholds.
    """
    k, n = _check_counts(exceedances, trials)
    a = np.asarray(alpha, dtype=np.float64)
    if not np.all((a > 0) & (a < 1)):
        raise ValueError(f"alpha must lie in (0, 1), got {alpha}")
    level = a[..., None] / k.shape[-1]
    if n.size and np.all(n == n.flat[0]) and np.all(level == level.flat[0]):
        # Many examples of the same n share counts, and a bound costs more than finding its equals.
        counts, where = np.unique(k, return_inverse=True)
        bounds = np.asarray(clopper_pearson_lower(counts, n.flat[0], level.flat[0]))[where].reshape(k.shape)
    else:
        bounds = np.asarray(clopper_pearson_lower(k, n, level))
    return np.maximum.accumulate(bounds[..., ::-1], axis=-1)[..., ::-1]


def _check_counts(exceedances: ArrayLike, trials: ArrayLike) -> tuple[NDArray, NDArray]:
    k, n = np.asarray(exceedances, dtype=np.float64), np.asarray(trials, dtype=np.float64)[..., None]
    if k.ndim == 0 or k.shape[-1] == 0:
        raise ValueError(f"exceedances must have a last axis of at least one threshold, got shape {k.shape}")
    if not np.all((n >= 1) & (n == np.floor(n)) & np.isfinite(n)):
        raise ValueError(f"trials must be integers >= 1, got {trials}")
    if not np.all((k >= 0) & (k <= n) & (k == np.floor(k))):
        raise ValueError(f"exceedances must be integers in [0, trials], got {exceedances} of {trials}")
    if not np.all(np.diff(k, axis=-1) <= 0):
        raise ValueError(f"exceedances must not increase along the last axis, got {exceedances}")
    return k, n
