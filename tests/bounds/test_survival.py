import itertools
import math

import numpy as np
import pytest
from mpmath import mp, mpf
from reference import binomial_cdf
from scipy import optimize, special, stats

from lightning_rs.bounds import binomial_survival_lower, clopper_pearson_lower, dkw_epsilon, dkw_survival_lower

N, ALPHA = 10**5, 0.001


def test_epsilon_equals_the_formula_and_is_rounded_up():
    for trials, alpha in ((1, 0.5), (100, 0.05), (10**5, 0.001), (10**9, 1e-6)):
        exact = mp.sqrt(-mp.log(mpf(alpha)) / (2 * trials))
        assert exact <= dkw_epsilon(trials, alpha) <= exact * (1 + mpf(10) ** -14)
    assert dkw_epsilon(100, 0.9) == dkw_epsilon(100, 0.5) > dkw_epsilon(100, 0.500001 - 0.000001) * 0.999
    assert dkw_epsilon([[10], [100]], [0.1, 0.2, 0.3]).shape == (2, 3)


def test_dkw_band():
    counts = np.array([100, 90, 40, 12, 0])
    band = dkw_survival_lower(counts, 100, 0.05)
    exact = [max(mpf(0), mpf(int(k)) / 100 - mp.sqrt(-mp.log(mpf(0.05)) / 200)) for k in counts]
    assert all(b <= e for b, e in zip(band, exact, strict=True))
    np.testing.assert_allclose(band, [float(e) for e in exact], rtol=1e-12)
    assert dkw_survival_lower(np.tile(counts, (2, 3, 1)), [[100], [200]], 0.05).shape == (2, 3, 5)


@pytest.mark.parametrize("alpha", [0.05, 0.5, 0.9])
def test_dkw_coverage_at_every_threshold_at_once(alpha):
    runs, n = 4000, 50
    draws = np.sort(np.random.default_rng(0).random((runs, n)), axis=1)
    # The band is violated somewhere if and only if it is at one of the draws, where the counts jump.
    band = dkw_survival_lower(np.tile(np.arange(n, 0, -1), (runs, 1)), n, alpha)
    failures = np.mean(np.any(band > 1 - draws, axis=1))
    assert failures <= min(alpha, 0.5) + 3 * math.sqrt(alpha * (1 - alpha) / runs)
    assert failures > 0.6 * min(alpha, 0.5)


def test_binomial_band_is_clopper_pearson_at_a_share_of_alpha():
    counts = np.array([100, 97, 97, 40, 3, 0])
    band = binomial_survival_lower(counts, 100, 0.03)
    np.testing.assert_allclose(band, clopper_pearson_lower(counts, 100, 0.005), rtol=1e-12)
    assert np.all(np.diff(band) <= 0)
    for count, p in zip(counts[:-1], band[:-1], strict=True):
        tail = 1 - binomial_cdf(int(count) - 1, 100, mpf(float(p)))
        assert tail <= 0.005 and float(tail) == pytest.approx(0.005, rel=1e-9)
    many = binomial_survival_lower(np.stack([counts, counts]), [100, 200], np.array([0.03, 0.05]))
    assert many.shape == (2, 6)
    np.testing.assert_array_equal(many[0], band)


def test_binomial_coverage_by_enumeration():
    n, alpha, cells = 12, 0.2, (0.1, 0.3, 0.35, 0.25)
    survival = 1 - np.cumsum(cells)[:3]
    outcomes = [o for o in itertools.product(range(n + 1), repeat=4) if sum(o) == n]
    counts = np.array([[o[1] + o[2] + o[3], o[2] + o[3], o[3]] for o in outcomes])
    weights = stats.multinomial(n, cells).pmf(np.array(outcomes))
    failed = np.any(binomial_survival_lower(counts, n, alpha) > survival, axis=1)
    assert 0.01 < weights[failed].sum() <= alpha


def radius(thresholds, survival) -> float:
    """Where sum_j (s_j - s_{j-1}) Phi(Phi^-1(p_j) - r) falls to 1/2."""
    steps, z = np.diff(thresholds, prepend=0.0), special.ndtri(survival)
    return optimize.brentq(lambda r: steps @ special.ndtr(z - r) - 0.5, 0.0, 10.0)


def test_known_confidence_radii():
    # Radii in units of sigma at n = 100000, alpha = 0.001 and confidence 1/2.
    constant = np.array([0.999])
    assert radius(constant, dkw_survival_lower([N], N, ALPHA)) == pytest.approx(2.518, abs=1e-3)
    grid = np.full(100, N)
    assert radius(constant, binomial_survival_lower(grid, N, ALPHA)[-1:]) == pytest.approx(3.682, abs=1e-3)
    # On a fixed grid, the binomial band certifies far more than the other where most of the scores are confident.
    thresholds = np.arange(1, 101) / 101
    for shape, dkw, gain in (((5, 1), 1.573, 0.2), ((50, 1), 2.425, 1.0), ((60, 40), 1.166, 0.5)):
        scores = stats.beta(*shape).ppf((np.arange(N) + 0.5) / N)
        assert radius(scores, dkw_survival_lower(np.arange(N, 0, -1), N, ALPHA)) == pytest.approx(dkw, abs=3e-3)
        counts = np.array([(scores >= s).sum() for s in thresholds])
        true = radius(thresholds, stats.beta(*shape).sf(thresholds))
        assert dkw + gain < radius(thresholds, binomial_survival_lower(counts, N, ALPHA)) < true


@pytest.mark.parametrize("band", [dkw_survival_lower, binomial_survival_lower])
@pytest.mark.parametrize(
    ("exceedances", "trials", "alpha", "message"),
    [
        ([5, 3], 4, 0.05, r"exceedances must be integers in \[0, trials\], got \[5, 3\] of 4"),
        ([1.5], 4, 0.05, "exceedances must be integers"),
        ([-1], 4, 0.05, "exceedances must be integers"),
        ([2, 3], 4, 0.05, r"exceedances must not increase along the last axis, got \[2, 3\]"),
        ([], 4, 0.05, "last axis"),
        (3, 4, 0.05, "last axis"),
        ([0], 0, 0.05, "trials must be integers >= 1, got 0"),
        ([1], 4, 1.0, r"alpha must lie in \(0, 1\), got 1.0"),
        ([1], 4, float("nan"), "alpha"),
    ],
)
def test_bad_input(band, exceedances, trials, alpha, message):
    with pytest.raises(ValueError, match=message):
        band(exceedances, trials, alpha)


def test_bad_input_of_epsilon():
    with pytest.raises(ValueError, match="trials must be integers >= 1, got 0"):
        dkw_epsilon(0, 0.05)
    with pytest.raises(ValueError, match=r"alpha must lie in \(0, 1\), got 0.0"):
        dkw_epsilon(5, 0.0)
