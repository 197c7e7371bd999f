"""Failure probabilities of the whole procedure, choice included, by enumeration of all outcomes."""

import numpy as np
import pytest
from scipy import stats

from lightning_rs import Statistics
from lightning_rs.bounds import clopper_pearson_lower, clopper_pearson_upper
from lightning_rs.mechanisms import ABSTAIN, get_mechanism, ugare
from lightning_rs.mechanisms.ugare import Ugare

N, NEW, ALPHA = 40, 25, 0.1
SHARES = np.linspace(0.5, 0.999, 25)
LOST = np.linspace(0.0, 0.4, 11)


def statistics(votes, draws, new, won=None, lost=None):
    """Of examples whose class 0 had these votes of before; the changed classifier's are won alone, or lost in pairs."""
    alone = lost is None
    own = won if alone else new - lost
    votes, own, drawn = np.broadcast_arrays(votes, own, new)
    lost = np.zeros_like(own) if alone else np.broadcast_to(lost, own.shape)
    return Statistics(
        1.0,
        np.stack([own, drawn - own], axis=1),
        np.tile([1, 0], (len(own), 1)),
        prior_counts=np.stack([votes, np.full_like(votes, draws)], axis=1),
        paired_counts=np.stack([lost, np.zeros_like(own) if alone else drawn], axis=1),
    )


def claims(mechanism, n=N, new=NEW, alpha=ALPHA):
    """(n + 1, new + 1) radii for every number of votes of before, and of draws won alone or lost in pairs."""
    votes, outcomes = np.arange(n + 1), np.arange(new + 1)
    return np.array([
        mechanism.certify(
            statistics(np.full(new + 1, k), n, new, **{"won" if mechanism.alone(k, n) else "lost": outcomes}), alpha
        ).radius
        for k in votes
    ])  # fmt: skip


def worst_failure(mechanism, n=N, new=NEW, alpha=ALPHA, lost=LOST):
    """The largest probability of a radius beyond Phi^-1(p - zeta), the truth of a half-space that lost a strip."""
    radii = claims(mechanism, n, new, alpha)
    votes, outcomes = np.arange(n + 1), np.arange(new + 1)
    alone = mechanism.alone(votes, n)
    worst = 0.0
    for p in SHARES:
        of_votes = stats.binom.pmf(votes, n, p)
        for zeta in lost[lost < p]:
            wrong = radii > max(stats.norm.ppf(p - zeta), 0.0)
            rates = np.where(
                alone,
                wrong @ stats.binom.pmf(outcomes, new, p - zeta),
                wrong @ stats.binom.pmf(outcomes, new, zeta),
            )
            worst = max(worst, float(of_votes @ rates))
    return worst


@pytest.mark.parametrize("options", [{"gamma": 0.9}, {"gamma": 0.7, "share": 0.2}, {"gamma": 0.999, "share": 0.9}])
def test_the_whole_procedure_fails_with_alpha_at_most(options):
    assert 0.001 < worst_failure(Ugare(**options)) <= ALPHA
    assert worst_failure(Ugare(**options), n=12, new=150) <= ALPHA


class AloneAtFew(Ugare):
    """Alone where votes are few: there the bound on them is not what fails, and alpha would be spent twice."""

    def alone(self, votes, draws):
        return np.asarray(votes) < self.gamma * np.asarray(draws)


def test_a_choice_that_is_not_monotone_is_found():
    assert worst_failure(AloneAtFew(0.8, 0.9), n=15, new=400, lost=np.array([0.0])) > 1.3 * ALPHA


def test_a_disagreement_that_is_counted_and_not_bounded_is_found(monkeypatch):
    def counted(x, n, alpha):
        return np.asarray(x) / n if np.all(np.asarray(n) == NEW) else clopper_pearson_upper(x, n, alpha)

    monkeypatch.setattr(ugare, "clopper_pearson_upper", counted)
    assert worst_failure(Ugare(0.999)) > 1.3 * ALPHA


def test_twice_alpha_is_found(monkeypatch):
    monkeypatch.setattr(ugare, "clopper_pearson_upper", lambda x, n, alpha: clopper_pearson_upper(x, n, 2 * alpha))
    assert worst_failure(Ugare(0.9)) > 1.5 * ALPHA


def test_the_larger_of_both_radii_is_found():
    """Paired and alone, each at all of alpha, and the better one taken: what the choice beforehand is for."""
    n, new = 15, 400
    votes, outcomes = np.arange(n + 1), np.arange(new + 1)
    paired = clopper_pearson_lower(votes, n, ALPHA)[:, None] - clopper_pearson_upper(outcomes, new, ALPHA)
    alone = clopper_pearson_lower(outcomes, new, ALPHA)
    worst = 0.0
    for p in SHARES:
        of_votes, of_new = stats.binom.pmf(votes, n, p), stats.binom.pmf(outcomes, new, p)
        worst = max(worst, float(1.0 - (of_votes @ (paired[:, 0] <= p)) * (of_new @ (alone <= p))))
    assert worst > 1.5 * ALPHA


def test_bounds_are_those_of_the_split():
    certificate = Ugare(share=0.3).certify(statistics(np.array([900]), 1000, 200, lost=np.array([2])), 0.01)
    expected = stats.beta.ppf(0.003, 900, 101) - stats.beta.isf(0.007, 3, 198)
    assert certificate.p_lower[0] == pytest.approx(expected, rel=1e-9)
    assert certificate.radius[0] == pytest.approx(stats.norm.ppf(expected), rel=1e-9)
    assert certificate.radius[0] <= stats.norm.ppf(expected)


def test_alone_it_is_cohen_of_the_new_draws_at_all_of_alpha():
    own = statistics(np.array([990, 1000]), 1000, 200, won=np.array([170, 200]))
    ours, cohen = (get_mechanism(name).certify(own, 0.01) for name in ("ugare", "cohen"))
    assert np.array_equal(ours.radius, cohen.radius) and np.array_equal(ours.p_lower, cohen.p_lower)
    assert ours.radius.min() > 0


def test_a_class_that_does_not_lead_any_more_is_not_certified():
    """However sure the classifier before was of it, and whatever the changed one says instead."""
    paired = statistics(np.array([980, 700]), 1000, 200, lost=np.array([200, 60]))
    alone = statistics(np.array([1000]), 1000, 200, won=np.array([90]))
    for one in (paired, alone):
        certificate = Ugare().certify(one, 0.01)
        assert (certificate.prediction == ABSTAIN).all() and not certificate.radius.any()


def test_half_of_alpha_for_each_is_near_the_best_split():
    """Within .0009 of it for a tenth of 10,000 and of 100,000 draws, hardly and clearly changed classifiers."""
    for draws in (10_000, 100_000):
        for share, lost in ((0.6, 0.0), (0.8, 0.002), (0.95, 0.01), (0.985, 0.002)):
            votes, losses = np.array([round(share * draws)]), np.array([round(lost * draws / 10)])
            one = statistics(votes, draws, draws // 10, lost=losses)
            bounds = [Ugare(share=s).certify(one, 0.001).p_lower[0] for s in np.linspace(0.05, 0.95, 19)]
            assert max(bounds) - Ugare().certify(one, 0.001).p_lower[0] < 9e-4


def test_draws_of_another_gamma_are_refused():
    paired = statistics(np.array([950]), 1000, 200, lost=np.array([2]))
    assert Ugare(0.96).certify(paired, 0.01).radius[0] > 0
    with pytest.raises(ValueError, match="^ugare needs draws that were made by its own gamma = 0.9: others are paired"):
        Ugare(0.9).certify(paired, 0.01)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gamma": 0.5}, r"gamma must lie in \(0.5, 1\), got 0.5"),
        ({"gamma": 1}, r"gamma must lie in \(0.5, 1\), got 1"),
        ({"share": 1.0}, r"share must lie in \(0, 1\), got 1.0"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        get_mechanism("ugare", **options)


def test_random_answers_are_refused():
    with pytest.raises(ValueError, match="compares the answers of two classifiers, and takes no random ones"):
        Ugare().check_stochastic()


def test_counts_that_no_draws_can_have_are_refused():
    with pytest.raises(ValueError, match="prior_counts must hold votes <= draws"):
        statistics(np.array([1001]), 1000, 200, won=np.array([200]))
    good = statistics(np.array([900]), 1000, 200, lost=np.array([5]))
    for paired in ([[6, 200]], [[5, 100]]):
        with pytest.raises(ValueError, match="paired_counts must hold votes lost <= draws, and all of the draws"):
            Statistics(1.0, good.counts, good.selection_counts, paired_counts=paired)
