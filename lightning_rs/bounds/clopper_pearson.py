"""One-sided Clopper-Pearson confidence bounds on a binomial proportion."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special


def clopper_pearson_lower(successes: ArrayLike, trials: ArrayLike, alpha: ArrayLike) -> NDArray[np.float64]:
    """Exact lower confidence bound on a proportion: the p that solves P(Bin(trials, p) >= successes) = alpha.

    P(bound <= p) >= 1 - alpha for every true p. The bound is 0 without a success and alpha ** (1 / trials) when all
    trials succeed. Numerical error is rounded away from the truth, so the result never exceeds the exact bound.

    The complement 1 - bound, where it is small, comes without cancellation from
    ``clopper_pearson_upper(trials - successes, trials, alpha)``.

    Args:
        successes: number of successes x, integers in [0, trials].
        trials: number of trials n, integers >= 1.
        alpha: failure probability of the bound, in (0, 1).

    Returns:
        The bound, float64, in the broadcast shape of the arguments.

    Raises:
        ValueError: an argument is out of its range.

    Source: C. J. Clopper and E. S. Pearson, "The Use of Confidence or Fiducial Limits Illustrated in the Case of the
    Binomial", Biometrika 26, 1934.
    """
    x, n, a = _check(successes, trials, alpha)
    inner = (x > 0) & (x < n)
    # The arguments of the edge cases are replaced by harmless ones, so that the special functions never see them.
    xi, ni = np.where(inner, x, 1.0), np.where(inner, n, 2.0)
    p = _polish(special.betaincinv(xi, ni - xi + 1.0, a), xi, ni - xi + 1.0, a, special.betainc, +1.0)
    p = np.where(x >= n, np.exp(np.log(a) / n), p)
    # SciPy's incomplete beta function loses digits of its upper half at small p; the others keep theirs.
    error = _relative_error(n) + np.where(a > 0.5, 5e-17 * n, 0.0)
    return np.where(x <= 0, 0.0, np.clip(p * (1.0 - error), 0.0, 1.0))[()]


def clopper_pearson_upper(successes: ArrayLike, trials: ArrayLike, alpha: ArrayLike) -> NDArray[np.float64]:
    """Exact upper confidence bound on a proportion: the p that solves P(Bin(trials, p) <= successes) = alpha.

    P(bound >= p) >= 1 - alpha for every true p. The bound is 1 when all trials succeed and 1 - alpha ** (1 / trials)
    without a success. Numerical error is rounded away from the truth, so the result is never below the exact bound.
    Small bounds keep their full relative precision.

    Arguments, result, errors and source are those of `clopper_pearson_lower`.
    """
    x, n, a = _check(successes, trials, alpha)
    inner = (x > 0) & (x < n)
    xi, ni = np.where(inner, x, 1.0), np.where(inner, n, 2.0)
    p = _polish(special.betainccinv(xi + 1.0, ni - xi, a), xi + 1.0, ni - xi, a, special.betaincc, -1.0)
    p = np.where(x <= 0, -np.expm1(np.log(a) / n), p)
    return np.where(x >= n, 1.0, np.clip(p * (1.0 + _relative_error(n)), 0.0, 1.0))[()]


def _check(successes: ArrayLike, trials: ArrayLike, alpha: ArrayLike) -> tuple[NDArray, NDArray, NDArray]:
    x, n, a = np.broadcast_arrays(*(np.asarray(v, dtype=np.float64) for v in (successes, trials, alpha)))
    if not np.all((n >= 1) & (n == np.floor(n))):
        raise ValueError(f"trials must be integers >= 1, got {trials}")
    if not np.all((x >= 0) & (x <= n) & (x == np.floor(x))):
        raise ValueError(f"successes must be integers in [0, trials], got {successes} of {trials}")
    if not np.all((a > 0) & (a < 1)):
        raise ValueError(f"alpha must lie in (0, 1), got {alpha}")
    return x, n, a


def _polish(p, shape_a, shape_b, target, distribution, slope):
    """One Newton step on the regularised incomplete beta function.

    SciPy's inverses are accurate relative to 1 rather than to p, which at n = 1e9 leaves eight digits of a small p.
    """
    log_density = (
        special.xlogy(shape_a - 1.0, p) + special.xlog1py(shape_b - 1.0, -p) - special.betaln(shape_a, shape_b)
    )
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        step = (distribution(shape_a, shape_b, p) - target) / (slope * np.exp(log_density))
    # A start that is right to eight digits needs a small step; a large one means that the density underflowed.
    usable = np.isfinite(step) & (np.abs(step) < 1e-6 * p)
    return np.where(usable, p - np.where(usable, step, 0.0), p)


def _relative_error(trials: NDArray) -> NDArray:
    """Bound on the relative numerical error, above the largest that was seen against 40-digit arithmetic."""
    return 4e-14 + 2e-20 * trials
