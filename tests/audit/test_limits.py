import numpy as np
import pytest
from mpmath import mp
from reference import binomial_cdf

from lightning_rs.audit.limits import (
    chance_of_as_far,
    chance_of_as_many,
    chance_of_spread,
    exact_tail,
    fair_trials,
    interval,
    lower_limit,
    telling_successes,
)


def at_least(k, n, p):
    return 1 - binomial_cdf(k - 1, n, mp.mpf(p))


@pytest.mark.parametrize(("k", "n", "alpha"), [(320, 400, 0.1), (20, 20, 0.2), (1, 50, 0.001)])
def test_a_bound_fails_at_its_limit_as_often_as_it_may(k, n, alpha):
    assert float(at_least(k, n, lower_limit(k, n, alpha))) == pytest.approx(alpha, rel=1e-11)


def test_chances():
    assert chance_of_as_many(30, 100, 0.2) == pytest.approx(float(at_least(30, 100, 0.2)), rel=1e-12)
    assert chance_of_as_many(0, 100, 0.2) == 1.0
    # Of ten tosses of a fair coin, 2 or fewer, or 8 or more.
    assert chance_of_as_far(2, 10, 0.5) == pytest.approx(2 * 56 / 1024)
    assert chance_of_as_far(0, 10, 0.0) == 1.0 and chance_of_as_far(1, 10, 0.0) == 0.0


@pytest.mark.parametrize(("k", "n", "quantile"), [(320, 400, 0.7), (20, 20, 2.0), (1, 50, -2.5)])
def test_exact_tails(k, n, quantile):
    assert exact_tail(k, n, quantile) == pytest.approx(float(at_least(k, n, mp.ncdf(quantile))), rel=1e-14)


def test_interval():
    low, high = interval(30, 100, 0.05)
    assert float(at_least(30, 100, low)) == pytest.approx(0.025)
    assert float(binomial_cdf(30, 100, mp.mpf(high))) == pytest.approx(0.025)
    assert interval(0, 10)[0] == 0.0 and interval(10, 10)[1] == 1.0


@pytest.mark.parametrize("alpha", [0.05, 0.1, 0.2])
def test_a_fair_coin_uses_all_of_alpha(alpha):
    n = fair_trials(alpha, 60, 120)
    tails = [float(at_least(k, n, 0.5)) for k in range(n // 2, n + 1)]
    assert 0.98 * alpha < max(tail for tail in tails if tail <= alpha)


@pytest.mark.parametrize("alpha", [0.05, 0.1, 0.2])
def test_twice_alpha_tells_most(alpha):
    k = telling_successes(400, alpha, 300, 340)
    p = lower_limit(k, 400, alpha)
    fewer = np.array([j for j in range(250, k + 1) if lower_limit(j, 400, 2 * alpha) > p * (1 - 1e-6)])
    assert 0.95 * 2 * alpha < float(at_least(int(fewer.min()), 400, p)) <= 2 * alpha * (1 + 1e-9)


def test_the_spread_of_independent_draws():
    rng = np.random.default_rng(0)
    right = [chance_of_spread(rng.binomial(400, 0.8, size=300), 400, 0.8) for _ in range(300)]
    assert 0.02 < np.mean(np.array(right) < 0.1) < 0.2 and min(right) > 1e-5
    assert chance_of_spread(2 * rng.binomial(200, 0.8, size=300), 400, 0.8) < 1e-6
    assert chance_of_spread(np.full(300, 322), 400, 0.8) < 1e-6
    assert chance_of_spread(np.full(300, 20), 20, 0.95) == 1.0
