import numpy as np
import pytest
from mpmath import mp, mpf
from scipy import special, stats

from lightning_rs.bounds import betting, betting_lower, betting_upper, predictable_plugin_lower

N, ALPHA = 10**5, 0.001


def quantiles(distribution, seed: int = 0) -> np.ndarray:
    """Draws whose empirical distribution is the exact one, in random order."""
    return np.random.default_rng(seed).permutation(distribution.ppf((np.arange(N) + 0.5) / N))


def literal_capital(samples, m, alpha, truncation) -> mpf:
    """max_t K_t(m), draw by draw, in 40-digit arithmetic."""
    m, budget, n = mpf(m), -mp.log(mpf(alpha)), len(samples)
    past: list[mpf] = []
    squares = mpf(0)
    capital, best = mpf(1), mpf(0)
    for t, x in enumerate(map(mpf, samples), 1):
        bet = mp.sqrt(2 * budget / (n * (mpf(1) / 4 + squares) / t))
        capital *= 1 + min(bet, mpf(truncation) / m) * (x - m)
        best = max(best, capital)
        past.append(x)
        squares += (x - (mpf(1) / 2 + sum(past)) / (t + 1)) ** 2
    return best


def examples():
    rng = np.random.default_rng(3)
    yield from (rng.beta(6, 4, 200), rng.beta(50, 1, 300), (rng.random(150) < 0.9) * 1.0, (rng.random(200) < 0.1) * 1.0)
    yield from (np.ones(60), np.full(100, 0.9), 0.01 * rng.random(400), np.r_[np.ones(100), np.zeros(100)])


@pytest.mark.parametrize("truncation", [0.5, 0.99])
@pytest.mark.parametrize("alpha", [0.05, 1e-6])
def test_bound_equals_the_literal_recursion_and_errs_on_the_safe_side(alpha, truncation):
    positive = 0
    for samples in examples():
        bound = float(betting_lower(samples, alpha, truncation))
        values = samples.tolist()
        if bound > 0:
            positive += 1
            assert literal_capital(values, bound, alpha, truncation) >= 1 / mpf(alpha)
        assert literal_capital(values, max(bound * (1 + 1e-9), 1e-12), alpha, truncation) < 1 / mpf(alpha)
    assert positive >= 6


def test_no_bound_without_a_winning_bet():
    assert betting_lower(np.zeros(50), 0.05) == 0.0
    assert betting_lower([1.0], 0.05) == 0.0
    assert betting_lower(np.r_[np.zeros(500), 0.5], 0.001) == 0.0


@pytest.mark.parametrize(
    ("samples", "half", "nearly_all", "tolerance"),
    [
        (np.full(N, 0.999), 3.052, 3.070, 1e-3),
        (np.ones(N), 3.636, 3.807, 1e-3),
        (quantiles(stats.beta(50, 1)), 2.058, 2.058, 2e-3),
        (quantiles(stats.beta(6, 4)), 0.2489, 0.2489, 3e-4),
        (quantiles(stats.bernoulli(0.9)), 1.2640, 1.2640, 3e-3),
    ],
)
def test_known_radii(samples, half, nearly_all, tolerance):
    # Radii in units of sigma at n = 100000 and alpha = 0.001.
    assert special.ndtri(betting_lower(samples, ALPHA)) == pytest.approx(half, abs=tolerance)
    assert special.ndtri(betting_lower(samples, ALPHA, 0.99)) == pytest.approx(nearly_all, abs=tolerance)


def test_coverage_by_simulation():
    rng = np.random.default_rng(0)
    runs, n, alpha = 4000, 500, 0.05
    for samples, mean in ((rng.beta(6, 4, (runs, n)), 0.6), ((rng.random((runs, n)) < 0.9) * 1.0, 0.9)):
        for truncation in (0.5, 0.99):
            bounds = betting_lower(samples, alpha, truncation)
            assert 0.02 < np.mean(bounds > mean) < alpha
        assert bounds.mean() > predictable_plugin_lower(samples, alpha).mean()


def test_broadcasts_and_accepts_single_precision():
    samples = np.random.default_rng(1).random((2, 3, 50), dtype=np.float32)
    bounds = betting_lower(samples, np.array([0.05, 0.01, 0.001]))
    assert bounds.shape == (2, 3)
    assert bounds.dtype == np.float64
    for i in range(2):
        for j, alpha in enumerate((0.05, 0.01, 0.001)):
            assert bounds[i, j] == pytest.approx(betting_lower(samples[i, j].astype(np.float64), alpha), rel=1e-10)
    assert betting_lower(samples[0, 0], np.array([0.05, 0.01])).shape == (2,)
    assert betting_lower(np.empty((0, 5)), 0.05).shape == (0,)


def test_few_points_are_looked_at(monkeypatch):
    """Each takes a pass over all samples; bisection would look at about sixty."""
    asked, excess = [], betting._excess
    monkeypatch.setattr(betting, "_excess", lambda *given: (asked.append(1), excess(*given))[1])
    betting_lower(np.random.default_rng(0).beta(50, 1, N).astype(np.float32), ALPHA, 0.99)
    assert 1 <= len(asked) <= 6


@pytest.mark.parametrize(
    ("samples", "alpha", "truncation", "message"),
    [
        ([0.5, 1.5], 0.05, 0.5, r"samples must lie in \[0, 1\], got values from 0.5 to 1.5"),
        ([-0.1, 0.5], 0.05, 0.5, "samples"),
        ([0.5, float("nan")], 0.05, 0.5, "samples"),
        ([], 0.05, 0.5, "samples must have a last axis of at least one draw"),
        ([0.5], 1.0, 0.5, r"alpha must lie in \(0, 1\), got 1.0"),
        ([0.5], 0.05, 1.0, r"truncation must lie in \(0, 1\), got 1.0"),
        ([0.5], 0.05, 0.0, "truncation"),
    ],
)
def test_bad_input(samples, alpha, truncation, message):
    with pytest.raises(ValueError, match=message):
        betting_lower(samples, alpha, truncation)


def test_upper_bound_reflects_the_lower_one_and_covers():
    rng = np.random.default_rng(5)
    samples = rng.beta(6, 2, (300, 200))
    upper = betting_upper(samples, 0.1)
    assert np.allclose(upper, 1.0 - betting_lower(1.0 - samples, 0.1), rtol=0, atol=1e-15)
    # Three standard errors above what alpha allows.
    assert (upper < 0.75).mean() <= 0.1 + 3 * np.sqrt(0.1 * 0.9 / 300)
    assert betting_upper(np.zeros(50), 0.1) < 0.2
    assert betting_upper(np.ones(50), 0.1) == 1.0
