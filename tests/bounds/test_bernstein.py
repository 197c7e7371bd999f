import numpy as np
import pytest
from mpmath import mp, mpf
from scipy import special, stats

from lightning_rs.bounds import empirical_bernstein_lower, empirical_bernstein_upper, predictable_plugin_lower

N, ALPHA = 10**5, 0.001


def quantiles(distribution, seed: int = 0) -> np.ndarray:
    """Draws whose empirical distribution is the exact one, in random order."""
    return np.random.default_rng(seed).permutation(distribution.ppf((np.arange(N) + 0.5) / N))


def literal_plugin(samples, alpha, cap, sequence) -> mpf:
    """The bound draw by draw, in 40-digit arithmetic."""
    n = len(samples)
    budget = -mp.log(mpf(alpha))
    past: list[mpf] = []
    squares = mpf(0)
    stake = gain = cost = mpf(0)
    best = mpf(0)
    for t, x in enumerate(map(mpf, samples), 1):
        mean = (mpf(1) / 2 + sum(past)) / t
        variance = (mpf(1) / 4 + squares) / t
        horizon = t * mp.log(1 + t) if sequence else n
        bet = min(mp.sqrt(2 * budget / (horizon * variance)), mpf(cap))
        stake += bet
        gain += bet * x
        cost += 4 * (x - mean) ** 2 * (-mp.log(1 - bet) - bet) / 4
        best = max(best, (gain - budget - cost) / stake)
        past.append(x)
        squares += (x - (mpf(1) / 2 + sum(past)) / (t + 1)) ** 2
    return best


@pytest.mark.parametrize("sequence", [False, True])
@pytest.mark.parametrize("cap", [0.5, 0.9])
def test_plugin_bound_equals_the_literal_recursion(cap, sequence):
    rng = np.random.default_rng(3)
    for samples in (rng.beta(6, 4, 200), (rng.random(150) < 0.9) * 1.0, np.ones(60), rng.random(1), np.full(100, 0.9)):
        for alpha in (0.05, 1e-6):
            exact = literal_plugin(samples.tolist(), alpha, cap, sequence)
            bound = predictable_plugin_lower(samples, alpha, cap, sequence)
            assert bound <= exact
            assert float(exact - bound) < 1e-12


def test_plugin_bound_for_a_sequence_can_only_grow():
    samples = np.random.default_rng(0).beta(6, 4, 400)
    bounds = [predictable_plugin_lower(samples[:n], 0.05, sequence=True) for n in range(1, 401)]
    assert np.all(np.diff(bounds) >= 0) and bounds[-1] > 0.4


def test_empirical_bernstein_formula():
    for mean, variance, trials, alpha in ((0.7, 0.04, 1000, 0.001), (0.5, 0.25, 10**9, 0.05), (0.9, 0.0, 500, 1e-6)):
        log_term = mp.log(2 / mpf(alpha))
        width = mp.sqrt(2 * mpf(variance) * log_term / trials) + 7 * log_term / (3 * (mpf(trials) - 1))
        lower = empirical_bernstein_lower(mean, variance, trials, alpha)
        upper = empirical_bernstein_upper(mean, variance, trials, alpha)
        assert lower <= mpf(mean) - width and upper >= mpf(mean) + width
        assert lower == pytest.approx(float(mean - width), rel=1e-13)
        assert upper == pytest.approx(float(mean + width), rel=1e-13)
    assert empirical_bernstein_lower(0.5, 0.25, 2, 0.05) == 0.0
    assert empirical_bernstein_upper(0.5, 0.25, 2, 0.05) == 1.0
    assert empirical_bernstein_lower(np.full((3, 1), 0.5), [0.1, 0.2], 100, 0.05).shape == (3, 2)


@pytest.mark.parametrize(
    ("samples", "bernstein", "plugin", "tolerance"),
    [
        (np.full(N, 0.999), 3.041, 3.052, 1e-3),
        (np.ones(N), 3.572, 3.636, 1e-3),
        (quantiles(stats.beta(50, 1)), 2.054, 2.057, 2e-3),
        (quantiles(stats.beta(6, 4)), 0.2480, 0.2487, 3e-4),
        (quantiles(stats.bernoulli(0.9)), 1.2600, 1.2640, 3e-3),
    ],
)
def test_known_radii(samples, bernstein, plugin, tolerance):
    # Radii in units of sigma at n = 100000 and alpha = 0.001.
    lower = empirical_bernstein_lower(min(samples.mean(), 1.0), samples.var(ddof=1), N, ALPHA)
    assert special.ndtri(lower) == pytest.approx(bernstein, abs=tolerance)
    assert special.ndtri(predictable_plugin_lower(samples, ALPHA)) == pytest.approx(plugin, abs=tolerance)


def test_coverage_by_simulation():
    rng = np.random.default_rng(0)
    runs, n, alpha = 4000, 500, 0.05
    for samples, mean, least in (
        (rng.beta(6, 4, (runs, n)), 0.6, 0.0),
        ((rng.random((runs, n)) < 0.9) * 1.0, 0.9, 0.02),
    ):
        plugin = np.mean(predictable_plugin_lower(samples, alpha) > mean)
        assert least < plugin < alpha
        assert np.mean(predictable_plugin_lower(samples, alpha, sequence=True) > mean) < alpha
        average, variance = samples.mean(axis=1), samples.var(axis=1, ddof=1)
        assert np.mean(empirical_bernstein_lower(average, variance, n, alpha) > mean) < alpha / 4
        assert np.mean(empirical_bernstein_upper(average, variance, n, alpha) < mean) < alpha / 4


def test_broadcasts_and_accepts_single_precision():
    samples = np.random.default_rng(1).random((2, 3, 50), dtype=np.float32)
    bounds = predictable_plugin_lower(samples, np.array([0.05, 0.01, 0.001]))
    assert bounds.shape == (2, 3)
    assert bounds.dtype == np.float64
    assert bounds[1, 2] == predictable_plugin_lower(samples[1, 2].astype(np.float64), 0.001)
    assert predictable_plugin_lower(samples[0, 0], np.array([0.05, 0.01])).shape == (2,)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0.5, 0.1, 1, 0.05), "trials must be integers >= 2, got 1"),
        ((0.5, -0.1, 10, 0.05), "variance must be >= 0, got -0.1"),
        ((0.5, float("nan"), 10, 0.05), "variance"),
        ((1.1, 0.1, 10, 0.05), "mean"),
        ((0.5, 0.1, 10, 1.0), "alpha"),
    ],
)
def test_bad_input_of_empirical_bernstein(arguments, message):
    for bound in (empirical_bernstein_lower, empirical_bernstein_upper):
        with pytest.raises(ValueError, match=message):
            bound(*arguments)


@pytest.mark.parametrize(
    ("samples", "alpha", "cap", "message"),
    [
        ([0.5, 1.5], 0.05, 0.5, r"samples must lie in \[0, 1\], got values from 0.5 to 1.5"),
        ([0.5, float("nan")], 0.05, 0.5, "samples"),
        ([], 0.05, 0.5, "samples must have a last axis of at least one draw"),
        (0.5, 0.05, 0.5, "last axis"),
        ([0.5], 0.0, 0.5, "alpha"),
        ([0.5], 0.05, 1.0, r"cap must lie in \(0, 1\), got 1.0"),
    ],
)
def test_bad_input_of_the_plugin_bound(samples, alpha, cap, message):
    with pytest.raises(ValueError, match=message):
        predictable_plugin_lower(samples, alpha, cap)
