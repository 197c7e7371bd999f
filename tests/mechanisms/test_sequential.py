"""Sequential mechanisms: their stopping rules, radii and coverage, on paths of votes with a known probability."""

import numpy as np
import pytest
from scipy import special, stats

from lightning_rs import Statistics
from lightning_rs.bounds import clopper_pearson_lower, sequential_log_wealth, union_bound_schedule
from lightning_rs.mechanisms import ABSTAIN, betting_looks, get_mechanism

BOTH = ("sequential_betting", "sequential_union")
SIGMA = 0.5


def statistics(path, looks=None):
    """Statistics of one example over two classes that took this path of (successes, draws), class 0 selected."""
    path = path + path[-1:] * ((looks or len(path)) - len(path))
    a, n = path[-1]
    return Statistics(SIGMA, np.array([[a, n - a]]), np.array([[10, 0]]), look_counts=np.array([path]))


def walk(rule, votes):
    """The path of a sequence of 0/1 votes up to where the rule stops."""
    total, path = np.cumsum(votes), []
    for look in rule.looks:
        path.append((int(total[look - 1]), int(look)))
        if rule.finished(path):
            break
    return path


def test_looks():
    looks = betting_looks(100_000)
    assert looks[:9].tolist() == [25, 50, 75, 100, 125, 150, 175, 200, 225]
    assert looks[-1] == 100_000
    assert np.all(np.diff(looks) <= np.maximum(25, looks[:-1] / 8 + 25))
    assert len(looks) < 80
    assert betting_looks(7).tolist() == [7]
    assert betting_looks(26).tolist() == [25, 26]


@pytest.mark.parametrize("name", BOTH)
def test_radii_are_certified_where_the_thresholds_say_so(name):
    """Reported radius and integer thresholds agree at every radius, whatever the path."""
    rng = np.random.default_rng(0)
    mechanism = get_mechanism(name)
    radii = [0.0, 0.25, 0.5, 0.75, 1.0]
    rule = mechanism.stopping_rule(radii, SIGMA, 20_000, 0.001)
    places = {int(look): k for k, look in enumerate(rule.looks)}
    reached = 0
    for p in np.concatenate([rng.uniform(0.4, 1.0, 60), 1 - 10 ** rng.uniform(-5, -1, 60)]):
        path = walk(rule, rng.random(20_000) < p)
        assert path[-1][1] == 20_000 or rule.finished(path) or path[-1][1] == rule.looks[-1]
        radius = mechanism.certify(statistics(path), 0.001).radius[0]
        for r, thresholds in zip(radii, rule.certify, strict=True):
            certified = any(a >= thresholds[places[n]] for a, n in path)
            assert certified == (radius > r), (p, r, path[-1])
            reached += certified
    assert reached > 100


def test_betting_radius_comes_from_the_best_look():
    path = [(25, 25), (50, 50), (75, 75), (90, 100)]
    best = get_mechanism("sequential_betting").certify(statistics(path), 0.001)
    alone = get_mechanism("sequential_betting").certify(statistics(path[:3]), 0.001)
    assert best.radius[0] == alone.radius[0] > 0
    p = special.ndtr(best.radius[0] / SIGMA)
    assert sequential_log_wealth(75, 75, p * (1 + 1e-8)) < np.log(1000) <= sequential_log_wealth(75, 75, p * (1 - 1e-8))
    # Padding after the stop changes nothing.
    assert get_mechanism("sequential_betting").certify(statistics(path, looks=9), 0.001).radius[0] == best.radius[0]


def test_union_radius_comes_from_the_schedule_alone():
    times, levels = union_bound_schedule(1000, 0.001)
    k = 40
    mechanism = get_mechanism("sequential_union")
    at_look = mechanism.certify(statistics([(int(times[k]), int(times[k]))]), 0.001)
    assert at_look.p_lower[0] == clopper_pearson_lower(times[k], times[k], levels[k])
    between = mechanism.certify(statistics([(int(times[k]) + 1, int(times[k]) + 1)]), 0.001)
    assert between.prediction[0] == ABSTAIN


@pytest.mark.parametrize("name", BOTH)
def test_coverage_of_all_decisions_together(name):
    """Exact, over all paths to 3000 draws: a radius above the true one is reported with probability <= alpha.

    The true probability lies just below each of the radii of interest in turn; the rule is the one that is used,
    stopping and giving up included.
    """
    alpha, n, radii = 0.05, 3000, [0.0, 0.25, 0.5, 1.0]
    mechanism = get_mechanism(name)
    rule = mechanism.stopping_rule(radii, SIGMA, n, alpha)
    for truth in radii:
        p = special.ndtr(truth / SIGMA) * (1 - 1e-12)
        above = [i for i, r in enumerate(radii) if r >= truth]
        alive, wrong, before = np.ones(1), 0.0, 0
        for k, look in enumerate(rule.looks):
            alive = np.convolve(alive, stats.binom.pmf(np.arange(look - before + 1), look - before, p))
            before = look
            # The smallest threshold of any radius that must not be certified.
            threshold = min(rule.certify[i, k] for i in above)
            wrong += alive[threshold:].sum()
            alive[threshold:] = 0.0
        assert wrong <= alpha, (truth, wrong)
        assert wrong > 0.01 * alpha or truth == 1.0


@pytest.mark.parametrize("name", BOTH)
def test_coverage_by_simulation(name):
    """Up to 30,000 draws, with the radius that is reported: wrong in at most alpha = 10 % of the runs, up to chance."""
    rng = np.random.default_rng(1)
    mechanism, radii = get_mechanism(name), [0.0, 0.3, 0.6]
    rule = mechanism.stopping_rule(radii, SIGMA, 30_000, 0.1)
    for p in (0.52, 0.8, 0.95):
        steps = np.diff(np.concatenate([[0], rule.looks]))
        totals = rng.binomial(steps, p, size=(1000, len(steps))).cumsum(axis=1)
        # All paths at once: a radius is decided from the first look on that certifies it or gives it up.
        decided = (totals >= rule.certify[:, None]) | (totals <= rule.refuse[:, None])
        over = np.logical_or.accumulate(decided, axis=2).all(axis=0)
        stop = np.where(over.any(axis=1), over.argmax(axis=1), len(steps) - 1)
        taken = np.minimum(np.arange(len(steps)), stop[:, None])
        paths = np.stack([np.take_along_axis(totals, taken, axis=1), rule.looks[taken]], axis=2)
        for path, last in zip(paths[:10], stop, strict=False):
            assert rule.finished(path[: last + 1]) or last == len(steps) - 1
            assert not last or not rule.finished(path[:last])
        counts = np.stack([paths[:, -1, 0], paths[:, -1, 1] - paths[:, -1, 0]], axis=1)
        selection = np.tile([10, 0], (len(paths), 1))
        certificate = mechanism.certify(Statistics(SIGMA, counts, selection, look_counts=paths), 0.1)
        wrong = np.mean(certificate.radius > SIGMA * special.ndtri(p))
        assert wrong <= 0.1 + 4 * np.sqrt(0.09 / 1000)
        assert counts.sum(axis=1).mean() < 15_000


def test_giving_up_saves_draws_and_few_certificates():
    rng = np.random.default_rng(2)
    radii = [0.5]
    certified, draws = {}, {}
    p = special.ndtr(rng.uniform(0.0, 1.2, 300) / SIGMA)
    votes = [rng.random(20_000) < q for q in p]
    for refusal in (0.0, 0.02):
        mechanism = get_mechanism("sequential_betting", refusal=refusal)
        rule = mechanism.stopping_rule(radii, SIGMA, 20_000, 0.001)
        paths = [walk(rule, v) for v in votes]
        certified[refusal] = np.array([mechanism.certify(statistics(path), 0.001).radius[0] > 0.5 for path in paths])
        draws[refusal] = np.mean([path[-1][1] for path in paths])
    assert np.all(certified[0.0] >= certified[0.02])
    assert (certified[0.0] & ~certified[0.02]).sum() <= 0.02 * certified[0.0].sum() + 3
    assert draws[0.02] < 0.5 * draws[0.0]


def test_unreachable_radii_end_at_once():
    """Phi(4) cannot be certified with 1000 draws: once the other radius is known, no more are made."""
    rule = get_mechanism("sequential_betting").stopping_rule([0.0, 4 * SIGMA], SIGMA, 1000, 0.001)
    assert walk(rule, np.ones(1000, dtype=int)) == [(25, 25)]


def test_bad_input():
    mechanism = get_mechanism("sequential_betting")
    with pytest.raises(
        ValueError, match=r"cannot certify any of the radii \[2.0\] with n = 1000 draws at alpha = 0.001"
    ):
        mechanism.stopping_rule([2.0], SIGMA, 1000, 0.001)
    with pytest.raises(ValueError, match=r"refusal must lie in \[0, 1\), got 1"):
        get_mechanism("sequential_union", refusal=1)
    with pytest.raises(ValueError, match="sequential_betting needs look_counts, which these statistics do not hold"):
        mechanism.certify(Statistics.from_counts([[9, 1]], SIGMA, [[5, 0]]), 0.001)
