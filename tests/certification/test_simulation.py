"""Simulated samples against the distributions that they are drawn from, in closed form."""

from dataclasses import replace

import numpy as np
import pytest
from half_spaces import certification_of
from scipy import stats

from lightning_rs.certification import run_pilot
from lightning_rs.certification.simulation import MISS, Outlook, Simulation
from lightning_rs.noise import Gaussian
from lightning_rs.smoothing.plan import Plan
from lightning_rs.smoothing.sample import Sample
from lightning_rs.statistics import Statistics

SIZE = 2000


def seen(counts, **fields):
    counts = np.array(counts)
    return Sample(0, 0, (1,), None, counts, counts, int(counts.argmax()), fields, [(int(counts.max()), 1)], 0.0)


def simulation(sample, label=0):
    return Simulation(sample, int(sample.counts.sum()), label, np.random.default_rng(0))


def votes(samples):
    return np.array([sample.counts for sample in samples])


def test_likely_votes_are_beta_binomial():
    """990 of 1,000 votes: among n further ones as many as Jeffreys' posterior says."""
    n = 500
    samples = simulation(seen([990, 6, 4, 0])).run(Plan((n,), 100), Outlook.LIKELY, SIZE)
    counts = votes(samples)
    expected = stats.betabinom(n, 990.5, 10.5)
    spread = counts[:, 0] + np.random.default_rng(1).random(SIZE)
    assert stats.kstest(spread, lambda x: _smooth(expected, x)).pvalue > 1e-3
    assert np.all(counts.sum(axis=1) == n)
    assert counts[:, 1].mean() / counts[:, 2].mean() == pytest.approx(6.33 / 4.33, rel=0.1)
    assert 0 < counts[:, 3].mean() < 0.5  # What was never seen may come.
    assert [sample.path for sample in samples] == [[(row[0], n)] for row in counts.tolist()]
    assert np.mean([sample.selection_counts[0] for sample in samples]) == pytest.approx(100 * 990.5 / 1001, abs=0.1)


def _smooth(distribution, x):
    """The distribution function of a count and an independent number in [0, 1]."""
    below = distribution.cdf(np.floor(x) - 1)
    return below + (x - np.floor(x)) * distribution.pmf(np.floor(x))


@pytest.mark.parametrize("p", [0.5, 0.9, 0.999, 1.0])
def test_low_and_high_miss_the_truth_as_seldom_as_they_say(p, m=300):
    counts = np.arange(0, m + 1)[stats.binom.pmf(np.arange(m + 1), m, p) > 1e-6]
    chance = stats.binom.pmf(counts, m, p)
    standing = np.zeros(1)
    at = {
        outlook: np.array([simulation(seen([k, m - k])).probabilities(outlook, standing)[0, 0] for k in counts])
        for outlook in (Outlook.LOW, Outlook.HIGH)
    }
    assert chance[at[Outlook.LOW] > p].sum() <= MISS
    assert chance[at[Outlook.HIGH] < p].sum() <= MISS
    assert np.all(at[Outlook.LOW] < at[Outlook.HIGH])


@pytest.mark.parametrize("counts", [[990, 10, 0], [500, 300, 200], [1000, 0, 0], [0, 1000, 0], [1, 999, 0], [600, 400]])
def test_low_and_high_are_probabilities_with_the_strongest_rival_at_its_limit(counts):
    low, high = (simulation(seen(counts)).probabilities(o, np.zeros(1))[0] for o in (Outlook.LOW, Outlook.HIGH))
    for row in (low, high):
        assert np.all(row >= 0) and row.sum() == pytest.approx(1)
    assert low[0] < high[0]
    assert low[1:].max() > high[1:].max()


def test_what_the_draws_of_an_image_say_is_seen_to_the_look_at_which_it_is_enough():
    certification = certification_of([0.95], mechanisms=["sequential_betting"])
    plan = certification.settings.plan(certification.noise, (1, 1, 1))
    for sample in simulation(seen([95, 5])).run(plan, Outlook.LIKELY, 20):
        whole = sample.path
        enough = [plan.finished(replace(sample, path=whole[:look])) for look in range(1, len(whole) + 1)]
        assert not any(enough[:-1])
        assert enough[-1] or whole[-1][1] == plan.looks[-1]
        assert sample.counts.sum() == whole[-1][1] and sample.counts[sample.selected] == whole[-1][0]
        sample.statistics(certification.noise, plan)  # They agree with each other.


def test_scores_of_zero_and_one_are_drawn_as_votes_are():
    """Then their sums are beta variables with the variance of beta-binomial counts, and histograms have two bins."""
    fields = {"score_sum": np.array([950.0, 50.0]), "score_square_sum": np.array([950.0, 50.0])}
    fields |= {"margin_sum": np.float64(900), "margin_histogram": np.bincount([0] * 50 + [1000] * 950, minlength=1001)}
    fields |= {"score_histogram": fields["margin_histogram"]}
    plan = Plan((400,), 10, fields=frozenset(fields) | {"uniform"})
    samples = simulation(seen([950, 50], **fields)).run(plan, Outlook.LIKELY, 500)
    expected = stats.betabinom(400, 950.5, 50.5)
    histogram = np.array([sample.fields["score_histogram"] for sample in samples])
    sums = np.array([sample.fields["score_sum"][0] for sample in samples])
    margins = np.array([sample.fields["margin_sum"] for sample in samples])
    for drawn in (histogram[:, -1], sums, 200 + margins / 2):
        assert drawn.mean() == pytest.approx(expected.mean(), rel=2e-3)
        assert drawn.std() == pytest.approx(expected.std(), rel=0.1)
    statistics = Statistics.concatenate([sample.statistics(Gaussian(0.25), plan) for sample in samples])
    assert statistics.score_square_sum == pytest.approx(statistics.score_sum, rel=0.05, abs=5)


@pytest.mark.parametrize("mechanism", ["salman", "kumar_score", "kumar_margin", "voracek"])
def test_real_soft_statistics_are_simulated_within_their_limits(mechanism):
    """Of 2,000 draws of a half-space: what the pilot's 500 predict lies between LOW and HIGH."""
    certification = certification_of([0.93], mechanisms=[mechanism])
    pilot, whole = (run_pilot(certification, 1, draws, shown=False) for draws in (500, 2000))
    plan = certification.settings.plan(certification.noise, (1, 1, 1))
    simulated = Simulation(pilot.samples[0], 500, 1, np.random.default_rng(0))
    chosen = certification.settings.mechanism_set

    def radii(samples, of):
        statistics = Statistics.concatenate([sample.statistics(certification.noise, of) for sample in samples])
        return chosen.certify(statistics, 0.001)[mechanism].radius

    outlooks = (Outlook.LOW, Outlook.LIKELY, Outlook.HIGH)
    low, likely, high = (radii(simulated.run(plan, outlook, 30), plan).mean() for outlook in outlooks)
    assert low < likely < high
    assert low < radii(whole.samples, whole.plan)[0] < high


def test_the_fields_of_a_class_that_the_pilot_did_not_select_certify_nothing():
    fields = {"score_histogram": np.bincount([1000] * 520 + [0] * 480, minlength=1001)}
    plan = Plan((100,), 5, fields=frozenset(fields))
    samples = simulation(seen([520, 480], **fields)).run(plan, Outlook.LIKELY, 50)
    other = [sample for sample in samples if sample.selected == 1]
    assert other and all(sample.fields["score_histogram"][0] == 100 for sample in other)
