import time

import numpy as np
import pytest
from mpmath import mp, mpf
from reference import binomial_cdf
from scipy import special

from lightning_rs.bounds import hoeffding_kl_lower, hoeffding_kl_upper, hoeffding_lower, hoeffding_upper

BOUNDS = (hoeffding_lower, hoeffding_upper, hoeffding_kl_lower, hoeffding_kl_upper)
MEANS = (1e-300, 1e-30, 1e-9, 1e-6, 1e-4, 0.01, 0.3, 0.5, 0.9, 0.999, 1 - 1e-6, 1 - 1e-9, 1 - 1e-12)


def divergence(m, q) -> mpf:
    m, q = mpf(m), mpf(q)
    return m * mp.log(m / q) + (1 - m) * mp.log((1 - m) / (1 - q))


@pytest.mark.parametrize("trials", [1, 2, 100, 10**5, 10**6, 10**9])
@pytest.mark.parametrize("alpha", [0.5, 0.05, 0.001, 1e-6, 1e-20])
def test_kl_bounds_equal_the_definition_and_err_on_the_safe_side(trials, alpha):
    level = -mp.log(mpf(alpha)) / trials
    tolerance = mpf(10) ** -10
    for mean in MEANS:
        lower = float(hoeffding_kl_lower(mean, trials, alpha))
        upper = float(hoeffding_kl_upper(mean, trials, alpha))
        assert 0 <= lower < mean < upper <= 1
        # A lower bound below the smallest normal number cannot have a relative precision.
        if lower > 1e-307:
            assert divergence(mean, lower) >= level
            assert divergence(mean, lower * (1 + tolerance)) < level or lower * (1 + tolerance) >= mean
        if upper < 1:
            assert divergence(mean, upper) >= level
            assert divergence(mean, upper * (1 - tolerance)) < level or upper * (1 - tolerance) <= mean


def test_kl_upper_bound_of_a_small_mean_is_the_complement_of_the_lower_bound():
    # 1 - mean is a float for these means, and the complement of the lower bound keeps few of its digits.
    for mean in (2.0**-40, 2.0**-20, 2.0**-10, 0.25):
        for trials in (1000, 10**5, 10**9):
            upper = hoeffding_kl_upper(mean, trials, 0.001)
            assert 1 - hoeffding_kl_lower(1 - mean, trials, 0.001) == pytest.approx(upper, rel=1e-9, abs=2e-14)


@pytest.mark.parametrize("trials", [1, 10, 10**5, 10**9])
@pytest.mark.parametrize("alpha", [0.05, 0.001, 1e-9])
def test_kl_bounds_at_the_ends(trials, alpha):
    exact = mpf(alpha) ** (mpf(1) / trials)
    assert hoeffding_kl_lower(0.0, trials, alpha) == 0.0
    assert hoeffding_kl_upper(1.0, trials, alpha) == 1.0
    lower, upper = hoeffding_kl_lower(1.0, trials, alpha), hoeffding_kl_upper(0.0, trials, alpha)
    assert lower <= exact <= lower * (1 + mpf(10) ** -12)
    assert upper * (1 - mpf(10) ** -12) <= 1 - exact <= upper


def test_hoeffding_bounds():
    for mean, trials, alpha in ((0.7, 1000, 0.001), (0.01, 10**5, 0.05), (0.999, 10**9, 1e-6)):
        width = mp.sqrt(-mp.log(mpf(alpha)) / (2 * trials))
        lower, upper = hoeffding_lower(mean, trials, alpha), hoeffding_upper(mean, trials, alpha)
        assert lower <= mpf(mean) - width and upper >= mpf(mean) + width
        assert lower == pytest.approx(float(mean - width), rel=1e-13)
        assert upper == pytest.approx(float(mean + width), rel=1e-13)
    assert hoeffding_lower(0.01, 10, 0.05) == 0.0
    assert hoeffding_upper(0.99, 10, 0.05) == 1.0


def test_known_radii():
    # Radii in units of sigma at n = 100000 and alpha = 0.001.
    for mean, plain, kl in ((0.999, 2.464, 2.985), (50 / 51, 1.952, 2.029), (1.0, 2.519, 3.812)):
        assert special.ndtri(hoeffding_lower(mean, 10**5, 0.001)) == pytest.approx(plain, abs=1.5e-3)
        assert special.ndtri(hoeffding_kl_lower(mean, 10**5, 0.001)) == pytest.approx(kl, abs=1.5e-3)


def test_kl_is_never_worse():
    mean, trials = np.linspace(0, 1, 201), np.array([[1], [30], [10**5], [10**9]])
    for alpha in (0.05, 1e-6):
        assert np.all(hoeffding_kl_lower(mean, trials, alpha) >= hoeffding_lower(mean, trials, alpha))
        assert np.all(hoeffding_kl_upper(mean, trials, alpha) <= hoeffding_upper(mean, trials, alpha))


@pytest.mark.parametrize(("lower", "upper"), [BOUNDS[:2], BOUNDS[2:]])
def test_coverage_by_enumeration(lower, upper):
    trials, alpha = 40, 0.05
    counts = np.arange(trials + 1)
    low, high = lower(counts / trials, trials, alpha), upper(counts / trials, trials, alpha)
    worst = 0.0
    for p in np.linspace(0.01, 0.99, 99):
        binomial = np.array([float(binomial_cdf(int(x), trials, p)) for x in counts])
        binomial = np.diff(binomial, prepend=0.0)
        failures = binomial[low > p].sum(), binomial[high < p].sum()
        assert max(failures) <= alpha
        worst = max(worst, *failures)
    assert worst > 0.01


def test_broadcasts_and_is_fast():
    bounds = hoeffding_kl_lower(np.array([[0.1], [0.5], [1.0]]), 10, np.array([0.05, 0.001]))
    assert bounds.shape == (3, 2)
    assert bounds.dtype == np.float64
    assert bounds[1, 1] == hoeffding_kl_lower(0.5, 10, 0.001)
    means = np.random.default_rng(0).random(10_000)
    for trials in (100, 10**9):
        start = time.process_time()
        hoeffding_kl_lower(means, trials, 0.001)
        assert time.process_time() - start < 1  # About 0.01 s.


@pytest.mark.parametrize("bound", BOUNDS)
@pytest.mark.parametrize(
    ("mean", "trials", "alpha", "message"),
    [
        (1.5, 10, 0.05, r"mean must lie in \[0, 1\], got 1.5"),
        (-0.1, 10, 0.05, "mean"),
        (float("nan"), 10, 0.05, "mean"),
        (0.5, 0, 0.05, "trials must be integers >= 1, got 0"),
        (0.5, 2.5, 0.05, "trials"),
        (0.5, float("inf"), 0.05, "trials"),
        (0.5, 10, 0.0, r"alpha must lie in \(0, 1\), got 0.0"),
        (0.5, 10, 1.0, "alpha"),
    ],
)
def test_bad_input(bound, mean, trials, alpha, message):
    with pytest.raises(ValueError, match=message):
        bound(mean, trials, alpha)
