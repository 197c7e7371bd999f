"""Independent values in 40-digit arithmetic, from the definitions: no special function of the package is used."""

from __future__ import annotations

from mpmath import mp, mpf

mp.dps = 40


def binomial_cdf(successes: int, trials: int, p: mpf) -> mpf:
    """P(Bin(trials, p) <= successes), term by term downwards from `successes`."""
    p = mpf(p)
    x, n = successes, trials
    if x < 0:
        return mpf(0)
    log_term = mp.loggamma(n + 1) - mp.loggamma(x + 1) - mp.loggamma(n - x + 1)
    term = mp.exp(log_term + x * mp.log(p) + (n - x) * mp.log1p(-p))
    total, ratio, k = mpf(0), (1 - p) / p, x
    while k >= 0 and (term > total * mpf(10) ** -35 or k > n * p):
        total += term
        term *= mpf(k) / (n - k + 1) * ratio
        k -= 1
    return total


def clopper_pearson_upper(successes: int, trials: int, alpha: float, start: float) -> mpf:
    """The p with P(Bin(trials, p) <= successes) = alpha, by the secant method from `start`."""
    if successes == trials:
        return mpf(1)

    def residual(p: mpf) -> mpf:
        return mp.log(binomial_cdf(successes, trials, p)) - mp.log(mpf(alpha))

    return mp.findroot(residual, (mpf(start), mpf(start) * (1 + mpf(10) ** -6)), tol=1e-30, solver="secant")


def quantile(p: mpf) -> mpf:
    """Phi^-1(p), by Newton steps on mpmath's normal distribution function."""
    p = mpf(p)
    if p > 0.5:
        return -quantile(1 - p)
    # Tail probabilities down to 1e-300 need a start that is not lost to 40 digits: -sqrt(-2 ln p) lies below.
    x = -mp.sqrt(-2 * mp.log(p)) if p < 0.1 else mpf(0)
    for _ in range(200):
        step = (mp.log(mp.ncdf(x)) - mp.log(p)) * mp.ncdf(x) / mp.npdf(x)
        x -= step
        if abs(step) < mpf(10) ** -35:
            return x
    raise ArithmeticError(f"no convergence at {p}")
