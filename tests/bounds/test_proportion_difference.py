import numpy as np
import pytest
from scipy import special, stats

from lightning_rs.bounds import (
    clopper_pearson_lower,
    proportion_difference,
    proportion_difference_lower,
    trinomial_tails,
)
from lightning_rs.bounds.binomial_tails import binomial_cdf

STATISTICS = ("phi", "diff")
SMALL = 20


def score(count, trials):
    return special.ndtri((count + 0.5) / (trials + 1))


def observed(y1, y2, trials, statistic):
    return score(y1, trials) - score(y2, trials) if statistic == "phi" else y1 - y2


def truth(p1, p2, statistic):
    return special.ndtri(p1) - special.ndtri(p2) if statistic == "phi" else p1 - p2


def outcomes(trials):
    """All (y1, y2, y3) of a trinomial and the logarithms of their multiplicities."""
    y1, y2 = (v.ravel() for v in np.meshgrid(np.arange(trials + 1), np.arange(trials + 1), indexing="ij"))
    y1, y2 = y1[y1 + y2 <= trials], y2[y1 + y2 <= trials]
    y3 = trials - y1 - y2
    log_count = sum(special.gammaln(v + 1) * sign for v, sign in ((trials, 1), (y1, -1), (y2, -1), (y3, -1)))
    return y1, y2, y3, log_count


def p_value(level, x1, x2, trials, alpha, statistic):
    """p(level) by summing the trinomial over every outcome, at 1000 points of the curve g(q1, q2) = level."""
    beta = alpha / 10
    low = stats.beta.ppf(beta / 2, x1, trials - x1 + 1) if x1 > 0 else 0.0
    high = stats.beta.isf(beta / 2, x1 + 1, trials - x1) if x1 < trials else 1.0
    high = min(high, special.ndtr(level / 2) if statistic == "phi" else (1 + level) / 2)
    if high < low:
        return beta
    y1, y2, y3, log_count = outcomes(trials)
    extreme = observed(y1, y2, trials, statistic) >= observed(x1, x2, trials, statistic) - 1e-9
    y1, y2, y3, log_count = (v[extreme] for v in (y1, y2, y3, log_count))
    even = np.linspace(0, 1, 500)
    q1 = np.concatenate([low + (high - low) * even, low ** (1 - even) * high**even if low > 0 else even * high])
    q1 = np.clip(q1, low, high)
    q2 = special.ndtr(special.ndtri(q1) - level) if statistic == "phi" else np.maximum(0, q1 - level)
    q3 = np.maximum(0, 1 - q1 - q2)
    terms = special.xlogy(y1, q1[:, None]) + special.xlogy(y2, q2[:, None]) + special.xlogy(y3, q3[:, None])
    return beta + np.exp(log_count + terms).sum(axis=1).max()


@pytest.fixture(scope="module", params=STATISTICS)
def table(request):
    """The bound for every pair of counts of SMALL trials; NaN where they exceed it."""
    bounds = np.full((SMALL + 1, SMALL + 1), np.nan)
    y1, y2, _, _ = outcomes(SMALL)
    bounds[y1, y2] = proportion_difference_lower(y1, y2, SMALL, 0.05, request.param)
    return request.param, bounds


# R / sigma, half of the bound, from a branch and bound on 1e-4 wide intervals.
@pytest.mark.parametrize(
    ("p1", "p2", "radius"),
    [
        (0.40, 0.10, 0.50229),
        (0.60, 0.10, 0.75506),
        (0.90, 0.05, 1.44568),
        (0.45, 0.35, 0.11829),
        (0.60, 0.40, 0.24081),
        (0.99, 0.001, 2.65343),
        (1.0, 0.0, 3.80771),
    ],
)
def test_values_at_a_hundred_thousand_draws(p1, p2, radius):
    bound = proportion_difference_lower(round(1e5 * p1), round(1e5 * p2), 100_000, 0.001)
    assert radius - 5e-4 <= bound / 2 <= radius + 2e-5


def test_value_of_the_plain_difference():
    bound = proportion_difference_lower(40_000, 10_000, 100_000, 0.001, "diff")
    assert 0.29332 - 1e-4 <= bound <= 0.29351 + 2e-5  # the exact one is 0.29351; 64 equal cells give 0.29332


@pytest.mark.parametrize("trials", [10, 1000, 10**5, 10**9, 2**40])
def test_unanimous_votes_have_a_closed_form(trials):
    # Only y1 = n is as extreme, so that p(L) = beta + q1^n on the edge q1 + q2 = 1: q1 = (alpha - beta)^(1/n).
    miss = -np.expm1(np.log(0.9 * 0.001) / trials)
    phi = proportion_difference_lower(trials, 0, trials, 0.001)
    assert -2 * special.ndtri(miss) - 1e-3 <= phi <= -2 * special.ndtri(miss) + 1e-12
    diff = proportion_difference_lower(trials, 0, trials, 0.001, "diff")
    assert 2 * miss - 1e-12 <= 1 - diff <= 2.01 * miss


@pytest.mark.parametrize("statistic", STATISTICS)
@pytest.mark.parametrize("alpha", [0.05, 0.001])
@pytest.mark.parametrize(
    ("x1", "x2", "trials"),
    [
        *((1, 0, 1), (3, 2, 7), (12, 5, 20), (10, 10, 20), (12, 8, 20), (20, 0, 20), (19, 0, 20), (5, 9, 20)),
        *((20, 10, 40), (24, 3, 40), (39, 1, 40), (1, 0, 40), (28, 12, 40)),
    ],
)
def test_bound_is_the_largest_level_that_is_not_rejected(x1, x2, trials, alpha, statistic):
    bound = proportion_difference_lower(x1, x2, trials, alpha, statistic)
    assert p_value(bound, x1, x2, trials, alpha, statistic) <= alpha * (1 + 1e-9)
    assert p_value(bound + 0.006, x1, x2, trials, alpha, statistic) > alpha


@pytest.mark.parametrize("statistic", STATISTICS)
@pytest.mark.parametrize(("x1", "x2"), [(400, 100), (600, 399), (990, 1), (20, 3), (450, 350), (100, 300)])
def test_bound_against_every_count_of_a_thousand(x1, x2, statistic):
    # One sum over y2 of binomial tails without groups, at single points of the curve.
    trials, alpha = 1000, 0.001
    bound = proportion_difference_lower(x1, x2, trials, alpha, statistic)

    def p(level):
        low = stats.beta.ppf(alpha / 20, x1, trials - x1 + 1)
        high = stats.beta.isf(alpha / 20, x1 + 1, trials - x1)
        q1 = np.linspace(low, min(high, special.ndtr(level / 2) if statistic == "phi" else (1 + level) / 2), 41)
        q2 = special.ndtr(special.ndtri(q1) - level) if statistic == "phi" else np.maximum(0, q1 - level)
        y1, y2 = np.arange(trials + 1), np.arange(trials + 1)[:, None]
        extreme = observed(y1, y2, trials, statistic) >= observed(x1, x2, trials, statistic) - 1e-9
        least = np.where(extreme.any(axis=1), extreme.argmax(axis=1), trials + 1)
        rest = trials - np.arange(trials + 1)
        tails = stats.binom.sf(least - 1, rest, np.minimum(1, q1 / (1 - q2))[:, None])
        return alpha / 10 + np.sum(stats.binom.pmf(y2.T, trials, q2[:, None]) * tails, axis=1).max()

    assert p(bound) <= alpha * (1 + 1e-9)
    assert p(bound + (0.01 if statistic == "phi" else 0.002)) > alpha


def test_coverage_by_enumeration(table):
    statistic, bounds = table
    y1, y2, y3, log_count = outcomes(SMALL)
    rng = np.random.default_rng(0)
    cases = [(1 / 3, 1 / 3, 1 / 3), (0.5, 0.5, 0), (0.4, 0.4, 0.2), (0.49, 0.49, 0.02), (0.98, 0.01, 0.01)]
    cases += [(0.9, 0.09, 0.01), (0.99, 0.01, 0), (0.02, 0.49, 0.49), (0.05, 0.9, 0.05), (0.466, 0.534, 0)]
    cases += [(top, (1 - top) / 2, (1 - top) / 2) for top in np.linspace(0.1, 0.95, 30)]
    cases += [(top, 1 - top, 0) for top in np.linspace(0.1, 0.95, 30)] + list(rng.dirichlet([1, 1, 1], 60))
    worst = 0.0
    for p in cases:
        weight = np.exp(log_count + sum(special.xlogy(y, q) for y, q in zip((y1, y2, y3), p, strict=True)))
        fixed = weight[bounds[y1, y2] > truth(p[0], p[1], statistic)].sum()
        # The largest rival count, whoever has it, against the largest rival probability.
        runner_up = weight[bounds[y1, np.maximum(y2, y3)] > truth(p[0], max(p[1], p[2]), statistic)].sum()
        worst = max(worst, fixed, runner_up)
        assert max(fixed, runner_up) <= 0.05
    # The construction uses most of alpha: a bound that never failed would pass the line above too.
    assert worst > 0.5 * 0.05


def test_bound_falls_with_the_rival_count_and_rises_with_the_own(table):
    _, bounds = table
    assert np.nanmax(np.diff(bounds[1:], axis=1)) <= 1e-4
    assert np.nanmin(np.diff(bounds[1:], axis=0)) >= -1e-4


def test_bound_falls_with_the_rival_count_at_many_draws():
    for statistic in STATISTICS:
        bounds = proportion_difference_lower(40_000, [9_000, 10_000, 20_000, 39_000, 50_000], 100_000, 0.001, statistic)
        assert np.all(np.diff(bounds) < 0)


def test_strictly_exceeding_counts_are_not_enough():
    # P(T > T(n, 0)) = 0 for every p: a test that leaves the observed value out would never stop the bound.
    assert proportion_difference_lower(100, 0, 100, 0.001) < 2 * special.ndtri(0.001 ** (1 / 100))


@pytest.mark.parametrize("trials", [10**6, 10**9])
def test_many_draws(trials):
    x1, x2 = round(0.4 * trials), round(0.1 * trials)
    spread = 2.4 / np.sqrt(trials)
    bound = proportion_difference_lower(x1, x2, trials, 0.001)
    exact = special.ndtri(0.4) - special.ndtri(0.1)
    assert exact - 3.4 * spread < bound < exact - 3.0 * spread
    # Without other classes the two counts are one binomial, at all of alpha but beta.
    bound = proportion_difference_lower(x1, trials - x1, trials, 0.001, "diff")
    exact = 2 * clopper_pearson_lower(x1, trials, 0.0009) - 1
    assert exact - 0.05 / np.sqrt(trials) <= bound <= exact + 1e-13


def test_no_votes_say_nothing():
    assert proportion_difference_lower(0, 0, 50, 0.001) == -np.inf
    assert proportion_difference_lower(0, 50, 50, 0.001) == -np.inf
    assert proportion_difference_lower(0, 10, 50, 0.001, "diff") == -1.0


def test_broadcasts_and_agrees_with_scalars():
    x1 = np.array([[0], [6], [10]])
    alpha = np.array([0.05, 0.001, 0.05])
    for statistic in STATISTICS:
        bounds = proportion_difference_lower(x1, 0, 10, alpha, statistic)
        assert bounds.shape == (3, 3)
        assert bounds.dtype == np.float64
        for i in range(3):
            for j in range(3):
                assert bounds[i, j] == proportion_difference_lower(x1[i, 0], 0, 10, alpha[j], statistic)
    assert proportion_difference_lower(np.zeros((0, 2)), 0, 10, 0.05).shape == (0, 2)
    assert isinstance(proportion_difference_lower(5, 3, 10, 0.05), float)


def test_bounds_are_those_of_each_alone_to_the_bit_and_are_computed_once(monkeypatch):
    monkeypatch.setattr(proportion_difference, "_KNOWN", {})
    monkeypatch.setattr(proportion_difference, "_REMEMBERED", 8)
    # From unanimous to close, with windows of every kind of length, and with more waiting than are searched at once.
    monkeypatch.setattr(proportion_difference, "_SIDE_BY_SIDE", 2)
    cases = [(100, 0, 100), (3000, 0, 3000), (2990, 6, 3000), (2000, 900, 3000), (80_000, 9_000, 100_000), (30, 20, 60)]
    cases += [(99_986, 4, 100_020), (999_995, 3, 1_000_005)]
    together = proportion_difference_lower(*np.array(cases).T, 0.001)
    assert len(proportion_difference._KNOWN) == len(cases)
    monkeypatch.setattr(proportion_difference, "trinomial_tails", None)
    assert np.array_equal(proportion_difference_lower(*np.array(cases).T, 0.001), together)
    monkeypatch.undo()
    for case, bound in zip(cases, together, strict=True):
        monkeypatch.setattr(proportion_difference, "_KNOWN", {})
        assert proportion_difference_lower(*case, 0.001) == bound


@pytest.mark.parametrize("statistic", STATISTICS)
def test_tails_asked_for_ahead_save_steps_and_change_no_bound(statistic, monkeypatch):
    cases = [(990, 2, 1000), (80_000, 9_000, 100_000)]
    steps = [0, 0]

    def bounds(place):
        def counted(asked):
            steps[place] += 1
            return trinomial_tails.trinomial_tails(asked)

        monkeypatch.setattr(proportion_difference, "trinomial_tails", counted)
        monkeypatch.setattr(proportion_difference, "_KNOWN", {})
        return [proportion_difference_lower(*case, 0.001, statistic) for case in cases]

    ahead = bounds(0)

    def ask(self, wanted, likely):
        (tails,) = yield [wanted]
        return tails

    monkeypatch.setattr(proportion_difference._Foresight, "ask", ask)
    assert bounds(1) == ahead
    assert steps[0] < 0.85 * steps[1]


@pytest.mark.parametrize("statistic", STATISTICS)
def test_what_cannot_be_computed_verifies_nothing(statistic, monkeypatch):
    def with_gaps(*args):
        tails = binomial_cdf(*args)
        tails[..., -1] = np.nan
        return tails

    monkeypatch.setattr(trinomial_tails, "binomial_cdf", with_gaps)
    monkeypatch.setattr(proportion_difference, "_KNOWN", {})
    bound = proportion_difference_lower(990, 2, 1000, 0.001, statistic)
    # All that is left is what the first count's interval says by itself.
    p1 = clopper_pearson_lower(990, 1000, 0.00005)
    assert bound == pytest.approx(2 * special.ndtri(p1) if statistic == "phi" else 2 * p1 - 1)


def test_what_is_remembered_is_bounded(monkeypatch):
    monkeypatch.setattr(proportion_difference, "_KNOWN", {})
    monkeypatch.setattr(proportion_difference, "_REMEMBERED", 3)
    bounds = [proportion_difference_lower(x1, 0, 9, 0.05) for x1 in range(10)]
    assert len(proportion_difference._KNOWN) <= 3
    assert np.array_equal(proportion_difference_lower(np.arange(10), 0, 9, 0.05), bounds)


@pytest.mark.parametrize(
    ("x1", "x2", "trials", "alpha", "statistic", "message"),
    [
        (5, 0, 4, 0.05, "phi", r"x1 must be integers in \[0, trials\], got 5 of 4"),
        (-1, 0, 4, 0.05, "phi", "x1"),
        (1.5, 0, 4, 0.05, "phi", "x1"),
        (3, 2, 4, 0.05, "phi", r"x2 must be integers in \[0, trials - x1\], got 2 with x1 = 3 of 4"),
        (3, -1, 4, 0.05, "diff", "x2"),
        (3, float("nan"), 4, 0.05, "diff", "x2"),
        (0, 0, 0, 0.05, "phi", r"trials must be integers in \[1, 2\*\*40\], got 0"),
        (2**40 + 1, 0, 2**40 + 1, 0.05, "phi", r"trials must be integers in \[1, 2\*\*40\], got 1099511627777"),
        (3, 0, float("nan"), 0.05, "phi", "trials"),
        (1, 0, 4, 0.0, "phi", r"alpha must lie in \(0, 1\), got 0.0"),
        (1, 0, 4, 1.0, "phi", "alpha"),
        (1, 0, 4, 0.05, "margin", "statistic must be one of phi, diff, got 'margin'"),
    ],
)
def test_bad_input(x1, x2, trials, alpha, statistic, message):
    with pytest.raises(ValueError, match=message):
        proportion_difference_lower(x1, x2, trials, alpha, statistic)
