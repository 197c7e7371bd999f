import time

import numpy as np
import pytest
from mpmath import mpf
from reference import binomial_cdf

from lightning_rs.bounds import (
    clopper_pearson_lower,
    clopper_pearson_upper,
    randomized_clopper_pearson_lower,
    randomized_clopper_pearson_upper,
)

CASES = [
    (failures, trials, alpha)
    for trials in (2, 10, 1000, 10**5, 10**6, 10**9)
    for failures in sorted({1, 2, 7, min(100, trials // 3)})
    for alpha in (0.05, 0.001, 1e-6)
    if 0 < failures < trials
] + [(trials // 2, trials, alpha) for trials in (100, 10**4) for alpha in (0.05, 1e-6)]


def tail(failures: int, trials: int, p: mpf, uniform: float) -> mpf:
    """P(Bin < failures) + uniform P(Bin = failures)."""
    below = binomial_cdf(failures - 1, trials, p)
    return below + mpf(uniform) * (binomial_cdf(failures, trials, p) - below)


@pytest.mark.parametrize(("failures", "trials", "alpha"), CASES)
def test_bounds_equal_the_definition_and_err_on_the_safe_side(failures, trials, alpha):
    tolerance = mpf(10) ** -10
    for uniform in (0.0, 1e-9, 0.37, 1.0):
        upper = float(randomized_clopper_pearson_upper(failures, trials, alpha, uniform))
        assert tail(failures, trials, mpf(upper), uniform) <= alpha
        assert tail(failures, trials, mpf(upper) * (1 - tolerance), uniform) > alpha
        lower = float(randomized_clopper_pearson_lower(trials - failures, trials, alpha, uniform))
        assert tail(failures, trials, 1 - mpf(lower), uniform) <= alpha
        complement = 1 - mpf(lower) * (1 + tolerance)
        assert complement <= 0 or tail(failures, trials, complement, uniform) > alpha


def test_ends():
    lower, upper = randomized_clopper_pearson_lower, randomized_clopper_pearson_upper
    alpha = 0.05
    for trials in (1, 50, 10**6):
        for uniform in (0.0, 0.04, 0.05):
            assert lower(trials, trials, alpha, uniform) == 1.0
            assert upper(0, trials, alpha, uniform) == 0.0
        for uniform in (0.05, 0.4, 1.0):
            assert lower(0, trials, alpha, uniform) == 0.0
            assert upper(trials, trials, alpha, uniform) == 1.0
        for uniform in (0.0500001, 0.06, 0.4, 1.0):
            exact = (mpf(alpha) / mpf(uniform)) ** (mpf(1) / trials)
            found = lower(trials, trials, alpha, uniform), upper(0, trials, alpha, uniform)
            assert exact * (1 - mpf(10) ** -12) <= found[0] <= exact
            assert 1 - exact <= found[1] <= (1 - exact) * (1 + mpf(10) ** -12)
        for uniform in (0.0, 0.03, 0.0499999):
            exact = ((1 - mpf(alpha)) / (1 - mpf(uniform))) ** (mpf(1) / trials)
            found = lower(0, trials, alpha, uniform), upper(trials, trials, alpha, uniform)
            assert (1 - exact) * (1 - mpf(10) ** -12) <= found[0] <= 1 - exact
            assert exact <= found[1] <= exact * (1 + mpf(10) ** -12)


@pytest.mark.parametrize(("trials", "alpha"), [(1, 0.05), (7, 0.05), (7, 0.3), (30, 0.001)])
@pytest.mark.parametrize("bound", [randomized_clopper_pearson_lower, randomized_clopper_pearson_upper])
def test_coverage_is_exact(bound, trials, alpha):
    successes = np.arange(trials + 1)
    for p in (0.02, 0.3, 0.5, 0.77, 0.999):
        binomial = np.array(
            [float(binomial_cdf(int(x), trials, p) - binomial_cdf(int(x) - 1, trials, p)) for x in successes]
        )
        # The bound errs for every uniform below one value, which bisection finds: its probability given the count.
        low, high = np.zeros(trials + 1), np.ones(trials + 1)
        for _ in range(60):
            uniform = (low + high) / 2
            found = bound(successes, trials, alpha, uniform)
            errs = found > p if bound is randomized_clopper_pearson_lower else found < p
            low, high = np.where(errs, uniform, low), np.where(errs, high, uniform)
        assert binomial @ high == pytest.approx(alpha, rel=1e-9)


def test_between_neighbouring_clopper_pearson_bounds():
    rng = np.random.default_rng(0)
    for trials in (5, 100, 10**5, 10**9):
        x, uniform = rng.integers(0, trials + 1, 2000), rng.random(2000)
        lower = randomized_clopper_pearson_lower(x, trials, 0.001, uniform)
        assert np.all(lower >= clopper_pearson_lower(x, trials, 0.001))
        inner = x < trials
        assert np.all(lower[inner] <= clopper_pearson_lower(x[inner] + 1, trials, 0.001) * (1 + 1e-12))
        upper = randomized_clopper_pearson_upper(x, trials, 0.001, uniform)
        assert np.all(upper <= clopper_pearson_upper(x, trials, 0.001))
        np.testing.assert_allclose(
            1 - upper,
            randomized_clopper_pearson_lower(trials - x, trials, 0.001, uniform),
            rtol=0,
            atol=5e-14 + 5e-20 * trials,
        )


def test_broadcasts_and_is_fast():
    bounds = randomized_clopper_pearson_lower(np.array([[0], [3], [10]]), 10, 0.05, np.array([0.01, 0.5]))
    assert bounds.shape == (3, 2)
    assert bounds.dtype == np.float64
    assert bounds[1, 1] == pytest.approx(randomized_clopper_pearson_lower(3, 10, 0.05, 0.5), rel=1e-13)
    rng = np.random.default_rng(0)
    x, uniform = rng.integers(0, 10**5 + 1, 10_000), rng.random(10_000)
    start = time.process_time()
    randomized_clopper_pearson_lower(x, 10**5, 0.001, uniform)
    assert time.process_time() - start < 5  # About 0.2 s; one by one it would be half a minute.


@pytest.mark.parametrize("bound", [randomized_clopper_pearson_lower, randomized_clopper_pearson_upper])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((5, 4, 0.05, 0.5), r"successes must be integers in \[0, trials\], got 5 of 4"),
        ((1, 0, 0.05, 0.5), "trials"),
        ((1, 4, 1.0, 0.5), "alpha"),
        ((1, 4, 0.05, 1.5), r"uniform must lie in \[0, 1\], got 1.5"),
        ((1, 4, 0.05, -0.1), "uniform"),
        ((1, 4, 0.05, float("nan")), "uniform"),
    ],
)
def test_bad_input(bound, arguments, message):
    with pytest.raises(ValueError, match=message):
        bound(*arguments)
