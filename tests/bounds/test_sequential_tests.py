import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mpmath import mp, mpf
from reference import binomial_cdf
from scipy import special

from lightning_rs.bounds import (
    sequential_log_wealth,
    sequential_lower,
    sequential_thresholds,
    union_bound_schedule,
    union_bound_thresholds,
)

RADIUS_TARGET = float(special.ndtr(0.5))


def literal_log_wealth(successes: int, trials: int, p: float) -> mpf:
    half, p = mpf(1) / 2, mpf(p)
    log_beta = mp.loggamma(successes + half) + mp.loggamma(trials - successes + half) - mp.loggamma(trials + 1)
    return log_beta - mp.log(mp.pi) - successes * mp.log(p) - (trials - successes) * mp.log(1 - p)


def literal_truncated_log_wealth(successes: int, trials: int, p: float) -> mpf:
    """ln of the mean over t > p of (t / p)^A ((1 - t) / (1 - p))^(N - A), with t = sin(u)^2 and u uniform."""
    p, failures = mpf(p), trials - successes
    start, end = mp.asin(mp.sqrt(p)), mp.pi / 2

    def integrand(u: mpf) -> mpf:
        s, c = mp.sin(u) ** 2 / p, mp.cos(u) ** 2 / (1 - p)
        return (s**successes if successes else 1) * (c**failures if failures else 1)

    peak, width = max(start, mp.asin(mp.sqrt(mpf(successes) / trials))), 1 / mp.sqrt(trials)
    points = {start, end}
    for steps in (-6, -2, 0, 0.02, 0.2, 2, 6):
        points.add(min(max(peak + steps * width, start), end))
    with mp.workdps(20):
        return mp.log(mp.quad(integrand, sorted(points)) / (end - start))


@pytest.mark.parametrize("trials", [1, 2, 19, 30, 1000, 10**5, 10**9])
def test_log_wealth_equals_the_definition_and_is_rounded_down(trials):
    for p in (1e-12, 0.01, 0.5, 0.9, 0.999999):
        for successes in {0, 1, 7, 25, trials // 2, round(trials * p), round(0.97 * trials), trials - 3, trials}:
            if not 0 <= successes <= trials:
                continue
            exact = literal_log_wealth(successes, trials, p)
            wealth = float(sequential_log_wealth(successes, trials, p, truncated=False))
            assert wealth <= exact
            assert float(exact - wealth) < 1e-9 + 1e-13 * abs(float(exact))


@pytest.mark.parametrize("trials", [1, 2, 30, 1000, 10**5])
def test_truncated_log_wealth_equals_the_definition_and_is_rounded_down(trials):
    for p in (0.01, 0.5, 0.9):
        for successes in {0, round(0.8 * trials * p), round(trials * p), round(0.97 * trials), trials}:
            exact = literal_truncated_log_wealth(successes, trials, p)
            wealth = float(sequential_log_wealth(successes, trials, p))
            assert wealth <= exact
            assert float(exact - wealth) < 1e-10 + 1e-13 * abs(float(exact))


def test_truncated_wealth_far_below_the_target_is_finite():
    trials = 10 ** np.arange(1, 10)
    wealth = sequential_log_wealth(np.zeros(9), trials, 0.9)
    # The mixture is that of proportions next to p: N ln((1 - t) / (1 - p)) falls at the rate N / (1 - p).
    density = 1 / (np.pi * np.sqrt(0.9 * 0.1)) / (2 / np.pi * np.arcsin(np.sqrt(0.1)))
    np.testing.assert_allclose(wealth[2:], np.log(density * 0.1 / trials[2:]), atol=2e-2)
    # It is continuous across the change of formula, and rises with the successes.
    counts = np.arange(60_000, 95_000, 50)
    wealth = sequential_log_wealth(counts, 10**5, 0.9)
    assert np.all(np.diff(wealth) > 0) and np.all(np.abs(np.diff(wealth, 2)[:-400]) < 1e-3)


def test_wealth_starts_at_one_and_is_a_martingale():
    for truncated in (False, True):
        assert np.all(sequential_log_wealth(0, 0, [0.01, 0.5, 0.99], truncated) == 0.0)
        for trials in (0, 1, 10, 200):
            counts, p = np.arange(trials + 1), np.array([[0.3], [0.69], [0.99]])
            before = sequential_log_wealth(counts, trials, p, truncated)
            after = np.logaddexp(
                np.log(p) + sequential_log_wealth(counts + 1, trials + 1, p, truncated),
                np.log1p(-p) + sequential_log_wealth(counts, trials + 1, p, truncated),
            )
            np.testing.assert_allclose(after, before, rtol=0, atol=1e-10)


def rejection_counts(p: float, max_trials: int, alpha: float, truncated: bool) -> np.ndarray:
    """The smallest count at which the log-wealth reaches ln(1/alpha), after 1, 2, ... draws."""
    trials = np.arange(1, max_trials + 1)
    low, high = np.floor(p * trials), trials + 1.0
    while np.any(high - low > 1):
        middle = np.minimum(np.floor((low + high) / 2), trials)
        reached = sequential_log_wealth(middle, trials, p, truncated) >= np.log(1 / alpha)
        searching = high - low > 1
        low, high = np.where(searching & ~reached, middle, low), np.where(searching & reached, middle, high)
    return high.astype(int)


def union_counts(p: float, max_trials: int, alpha: float) -> np.ndarray:
    counts = np.arange(1, max_trials + 1) + 1
    for time, count in zip(*union_bound_thresholds(p, max_trials, alpha), strict=True):
        counts[time - 1] = min(counts[time - 1], count)
    return counts


def run_test(p: float, counts: np.ndarray) -> tuple[float, float]:
    """Exact probability of rejection and mean number of draws, over all paths of the number of successes."""
    alive = np.zeros(len(counts) + 2)
    alive[0] = 1.0
    rejected = mean = 0.0
    for trials, count in enumerate(counts, 1):
        mean += alive[:trials].sum()
        alive[1 : trials + 1] = alive[1 : trials + 1] * (1 - p) + alive[:trials] * p
        alive[0] *= 1 - p
        rejected += alive[count : trials + 1].sum()
        alive[count : trials + 1] = 0.0
    return rejected, mean


@pytest.mark.parametrize("alpha", [0.05, 0.001])
def test_probability_of_a_false_rejection(alpha):
    for p in (0.5, 0.7, 0.9, 0.99):
        truncated = run_test(p, rejection_counts(p, 6000, alpha, True))[0] / alpha
        assert 0.72 < truncated < 0.93
        assert run_test(p, union_counts(p, 6000, alpha))[0] <= alpha
        # Both sides together stay below alpha, for the wealth that is not truncated.
        upper = rejection_counts(p, 1500, alpha, False)
        lower = rejection_counts(1 - p, 1500, alpha, False)
        assert run_test(p, upper)[0] + run_test(1 - p, lower)[0] <= alpha


@pytest.mark.parametrize("alpha", [0.05, 0.01, 0.001])
def test_the_published_rule_holds_where_certification_uses_it_and_not_everywhere(alpha):
    """Published: betting on all of (0, 1), stopped at half of the wealth that Ville's inequality asks for.

    Exactly, within 2,000 draws and at alpha = .001: at most 7.7e-4 for proportions of one half or more, where radii lie
    (at p = .58, of those below); 1.13e-3 at p = .08.
    """

    def failure(p):
        return run_test(p, rejection_counts(p, 2000, 2 * alpha, False))[0] / alpha

    largest = max(map(failure, (0.5, 0.52, 0.58, 0.7, 0.9, 0.99)))
    assert 0.7 < largest < 0.9
    assert failure({0.05: 0.04}.get(alpha, 0.08)) > 1.1


def test_mean_number_of_draws():
    # The target is that of a radius of half a sigma.
    betting = rejection_counts(RADIUS_TARGET, 4000, 0.001, True)
    union = union_counts(RADIUS_TARGET, 4000, 0.001)
    for p, draws, draws_union in ((0.999, 22, 35), (0.95, 36, 56), (0.8, 280, 392)):
        for counts, expected in ((betting, draws), (union, draws_union)):
            rejected, mean = run_test(p, counts)
            assert rejected > 0.9999
            assert mean == pytest.approx(expected, abs=0.6)


def test_schedule():
    times, levels = union_bound_schedule(10**5, 0.001)
    assert times.dtype == np.int64
    assert times[:8].tolist() == [3, 4, 4, 4, 5, 5, 6, 6]
    assert times[-1] <= 10**5 < times[-1] * 1.1 + 1
    assert all(t == int(1.1 ** (k + 10)) + 1 for k, t in enumerate(times.tolist(), 1))
    assert levels[0] == pytest.approx(0.001 / 6, rel=1e-14)
    assert levels.sum() == pytest.approx(0.001 * (1 - 5 / (len(times) + 5)), rel=1e-12)
    assert union_bound_schedule(10**9, 0.05)[1].sum() < 0.05
    assert len(union_bound_schedule(2, 0.05)[0]) == len(union_bound_thresholds(0.5, 2, 0.05)[1]) == 0


def test_thresholds_are_the_smallest_counts():
    for p in (0.3, RADIUS_TARGET, 0.9999):
        times, counts = union_bound_thresholds(p, 3000, 0.01)
        levels = union_bound_schedule(3000, 0.01)[1]
        for time, count, level in list(zip(times.tolist(), counts.tolist(), levels, strict=True))[::3]:
            # P(Bin >= c) is the probability of at most n - c failures.
            assert count == time + 1 or binomial_cdf(time - count, time, 1 - mpf(p)) <= level
            assert binomial_cdf(time - count + 1, time, 1 - mpf(p)) > level
    assert union_bound_thresholds(0.9999, 100, 0.01)[1].tolist() == (union_bound_schedule(100, 0.01)[0] + 1).tolist()
    times, counts = union_bound_thresholds(np.array([[0.5], [0.7]]), 200, 0.01)
    assert counts.shape == (2, 1, len(times))
    assert counts.dtype == np.int64
    np.testing.assert_array_equal(counts[1, 0], union_bound_thresholds(0.7, 200, 0.01)[1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((5, 4, 0.5), r"successes must be integers in \[0, trials\], got 5 of 4"),
        ((1, -1, 0.5), "trials must be integers >= 0, got -1"),
        ((1, 2.5, 0.5), "trials"),
        ((1, 4, 0.0), r"p must lie in \(0, 1\), got 0.0"),
        ((1, 4, 1.0), "p must"),
        ((1, 4, float("nan")), "p must"),
    ],
)
def test_bad_input_of_the_wealth(arguments, message):
    with pytest.raises(ValueError, match=message):
        sequential_log_wealth(*arguments)


def test_bad_input_of_the_schedule():
    for max_trials in (0, 1.5):
        with pytest.raises(ValueError, match=f"max_trials must be an integer >= 1, got {max_trials}"):
            union_bound_schedule(max_trials, 0.05)
    with pytest.raises(ValueError, match=r"alpha must lie in \(0, 1\), got 1.0"):
        union_bound_schedule(10, 1.0)
    with pytest.raises(ValueError, match=r"p must lie in \(0, 1\), got 1.0"):
        union_bound_thresholds(1.0, 10, 0.05)


def test_betting_thresholds_are_the_smallest_counts():
    for p in (0.3, RADIUS_TARGET, 0.9999):
        trials = np.array([1, 5, 25, 200, 3000, 100_000])
        counts = sequential_thresholds(p, trials, 0.01)
        for n, count in zip(trials.tolist(), counts.tolist(), strict=True):
            assert count == n + 1 or sequential_log_wealth(count, n, p) >= np.log(100)
            assert sequential_log_wealth(count - 1, n, p) < np.log(100)
    assert sequential_thresholds(0.9999, 100, 0.01) == 101
    np.testing.assert_array_equal(
        sequential_thresholds(0.7, np.arange(1, 500), 0.001), rejection_counts(0.7, 499, 0.001, True)
    )


def test_limit_is_where_the_wealth_reaches_the_level():
    """Against the integral of the mixture in 20 digits."""
    for successes, trials, alpha in (
        (25, 25, 0.001),
        (20, 25, 0.05),
        (180, 200, 0.001),
        (3, 50, 0.1),
        (998, 1000, 0.001),
        (99_990, 100_000, 0.001),
        (100_000, 100_000, 0.001),
    ):
        limit = float(sequential_lower(successes, trials, alpha))
        level = mp.log(1 / mpf(alpha))
        assert literal_truncated_log_wealth(successes, trials, limit) >= level
        assert literal_truncated_log_wealth(successes, trials, limit + 1e-9 * (1 - limit)) < level
    assert sequential_lower(0, 50, 0.01) == 0.0
    assert sequential_lower([[5, 25], [25, 5]], 25, 0.01).shape == (2, 2)


@given(st.integers(1, 10**5), st.floats(0, 1), st.sampled_from([0.4, 0.05, 0.001, 1e-6]))
@settings(max_examples=60)
def test_one_alpha_is_enough_for_all_targets(trials, share, alpha):
    """Where the wealth reaches 1 / alpha it falls in p, so a rejected proportion is rejected with all below it."""
    p = np.linspace(0.001, 0.999, 400)
    wealth = sequential_log_wealth(int(share * trials), trials, p)
    high = np.flatnonzero(wealth >= np.log(1 / alpha))
    assert len(high) == 0 or np.array_equal(high, np.arange(high[-1] + 1))
    assert np.all(np.diff(wealth[high]) < 0)


def test_no_limit_of_a_sequence_exceeds_the_truth():
    """Exact, over all paths: the event that any limit of the looks up to 400 exceeds p has probability <= alpha."""
    alpha, looks = 0.05, np.array([25, 50, 75, 100, 150, 200, 300, 400])
    for p in (0.5, 0.8, 0.97):
        counts = np.arange(1, 401) + 1
        for look in looks:
            limits = sequential_lower(np.arange(look + 1), look, alpha)
            counts[look - 1] = np.argmax(limits > p) if np.any(limits > p) else look + 1
        assert 0.05 * alpha < run_test(p, counts)[0] <= alpha


def test_bad_input_of_the_limits():
    with pytest.raises(ValueError, match=r"alpha must be at most 0.4 for a sequence of limits, got 0.5"):
        sequential_lower(1, 2, 0.5)
    with pytest.raises(ValueError, match=r"successes must be integers in \[0, trials\], got 3"):
        sequential_lower(3, 2, 0.1)
    with pytest.raises(ValueError, match=r"alpha must lie in \(0, 1\), got 0"):
        sequential_thresholds(0.5, 2, 0)
