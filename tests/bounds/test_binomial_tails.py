import numpy as np
import pytest
from mpmath import mp, mpf
from scipy import special

from lightning_rs.bounds import binomial_tails
from lightning_rs.bounds.binomial_tails import binomial_cdf


def in_forty_digits(k, n, p):
    """I_(1 - p)(n - k, k + 1) by its hypergeometric series, on the side where it is small."""
    mp.dps = 40
    p, a, b = mpf(p), mpf(n - k), mpf(k + 1)
    front = mp.exp(a * mp.log1p(-p) + b * mp.log(p) - mp.log(mp.beta(a, b)))
    if a / (a + b) > 1 - p:
        return front / a * mp.hyp2f1(a + b, 1, a + 1, 1 - p)
    return 1 - front / b * mp.hyp2f1(a + b, 1, b + 1, p)


def at_deviation(k, n, z):
    """A p at which P(Bin(n, p) <= k) is about Phi(z), that is about 1 - p again in doubles."""
    p = special.betaincinv(k + 1, n - k, special.ndtr(-z))
    return np.round(p * 2.0**40) / 2.0**40


@pytest.mark.parametrize("least", [1, 49, 50, 51, 80])
def test_equals_forty_digits_from_small_counts_to_large_and_from_the_middle_to_the_tails(least):
    rng = np.random.default_rng(least)
    for z in (0.0, 1e-9, -0.5, 0.999, -1.001, 2.0, -7.0, -12.0):
        n = round(min(least * 10 ** rng.uniform(0.4, 2.0), 1e5)) + 2
        for k in (least - 1, n - least):
            p = at_deviation(k, n, z)
            if not 0.0 < p < 1.0:
                continue
            got, exact = binomial_cdf(k, n, p, 1.0 - p), in_forty_digits(k, n, p)
            assert abs(mpf(float(got)) / exact - 1) < 1e-9, (k, n, p)


def test_equals_the_incomplete_beta_function_up_to_two_hundred_thousand_trials():
    rng = np.random.default_rng(1)
    n = np.floor(10 ** rng.uniform(2.0, 5.3, 4000))
    k, z = np.floor(n * rng.beta(0.4, 0.4, 4000)), rng.uniform(-8, 8, 4000)
    keep = (k > 0) & (k < n)
    n, k, z = n[keep], k[keep], z[keep]
    p = at_deviation(k, n, z)
    exact = np.where(p < 0.5, special.betaincc(k + 1, n - k, p), special.betainc(n - k, k + 1, 1 - p))
    assert binomial_cdf(k, n, p, 1 - p) == pytest.approx(exact, rel=2e-9, abs=1e-300)


@pytest.mark.parametrize("trials", [10**6, 10**9])
def test_many_trials(trials):
    for share in (0.001, 0.3, 0.5):
        for z in (-6.0, -1.0, -1e-3, 0.4, 3.0):
            k = round(trials * share)
            p = round(at_deviation(k, trials, z) * 2.0**50) / 2.0**50
            # Half an ulp of p moves z by this much.
            rounding = 1e-16 * trials / np.sqrt(trials * share) * (1.0 + abs(z))
            assert binomial_cdf(k, trials, p, 1.0 - p) == pytest.approx(
                special.betaincc(k + 1.0, trials - k, p), rel=1e-9 + 10 * rounding
            )


def test_sums_the_probabilities_of_every_count():
    n, p = 400, 0.37
    k = np.arange(n + 1)
    log_count = special.gammaln(n + 1) - special.gammaln(k + 1) - special.gammaln(n - k + 1)
    sums = np.cumsum(np.exp(log_count + k * np.log(p) + (n - k) * np.log1p(-p)))
    assert binomial_cdf(k, n, p, 1 - p) == pytest.approx(sums, rel=1e-9)


def test_ends():
    assert binomial_cdf([-5.0, -1.0], 100, 0.5, 0.5).tolist() == [0.0, 0.0]
    assert binomial_cdf([100.0, 101.0], 100, 0.5, 0.5).tolist() == [1.0, 1.0]
    # All trials fail, or succeed, for certain: small counts and large ones.
    assert binomial_cdf([0.0, 60.0], 200, 0.0, 1.0).tolist() == [1.0, 1.0]
    assert binomial_cdf([0.0, 60.0, 199.0], 200, 1.0, 0.0).tolist() == [0.0, 0.0, 0.0]
    assert binomial_cdf([50.0, 5e5], [10**4, 10**6], 0.999, 0.001).tolist() == [0.0, 0.0]


def test_shapes_broadcast_and_values_do_not_depend_on_their_neighbours():
    rng = np.random.default_rng(0)
    n, p = 2000.0, rng.uniform(0.01, 0.99, (3000, 1))
    k = np.array([20.0, 49.0, 700.0])
    table = binomial_cdf(k, n, p, 1 - p)
    assert table.shape == (3000, 3) and table.size > binomial_tails._BLOCK
    for row in (0, 7, 2999):
        assert [float(binomial_cdf(v, n, p[row, 0], 1 - p[row, 0])) for v in k] == table[row].tolist()
    assert binomial_cdf(np.zeros((0, 2)), 5, 0.5, 0.5).shape == (0, 2)
    # Of few trials beside many, too: their small counts are computed in different ways.
    p = 10 ** rng.uniform(-7.0, -2.0, (200, 1))
    trials = np.array([1e5, 1e6])
    table = binomial_cdf(20.0, trials, p, 1 - p)
    assert table.tolist() == [[float(binomial_cdf(20.0, n, row[0], 1 - row[0])) for n in trials] for row in p]
