"""Whether trials are as hard as they say, and leave no mechanism out."""

import numpy as np
import pytest
from scipy import stats

from lightning_rs.audit.claim import Claim
from lightning_rs.audit.trials import MAIN, OPTIONS, mechanisms_by_kind, trials
from lightning_rs.mechanisms import MECHANISMS, list_mechanisms, parse_mechanism
from lightning_rs.mechanisms.cohen import Cohen


def named(name, quick=False):
    return next(trial for trial in trials(quick) if trial.name == name)


def true_radius(trial, c, mechanism="cohen"):
    known = trial.known()
    return known.radius(c, Claim.of(parse_mechanism(mechanism), tuple(known.image.shape)))


@pytest.mark.parametrize("quick", [True, False])
def test_every_registered_mechanism_is_tried_alone_or_beside_others(quick):
    tried = {label.partition(":")[0] for trial in trials(quick) for label in trial.mechanisms}
    assert tried == set(list_mechanisms())
    sequential = mechanisms_by_kind(False)["sequential"]
    assert len(sequential) >= 2
    for trial in trials(quick):
        assert set(trial.mechanisms).isdisjoint(sequential) or (len(trial.mechanisms) == 1 and trial.radii)
    assert len({trial.name for trial in trials(quick)}) == len(trials(quick))


def test_options_are_those_of_an_audit_that_is_not_quick():
    with_options = {label for texts in mechanisms_by_kind(True).values() for label in texts}
    for name in set(OPTIONS) & set(list_mechanisms()):
        assert {f"{name}:{options}" for options in OPTIONS[name]} <= with_options


def test_a_new_mechanism_is_tried_without_being_named_here(monkeypatch):
    class Newest(Cohen):
        name = "newest"

    monkeypatch.setattr(MECHANISMS, "_users", {"newest": Newest})
    assert "newest" in named("a net of three bands").mechanisms


@pytest.mark.parametrize("quick", [True, False])
def test_a_net_at_a_limit(quick):
    """One more success than the limit's is all that keeps a bound at alpha right."""
    trial = named("a net that is a half-space, at a limit", quick)
    known = trial.known()
    p = known.votes[1]
    fails = [k for k in range(1, trial.n + 1) if stats.beta.ppf(trial.alpha, k, trial.n - k + 1) > p]
    rate = stats.binom.sf(fails[0] - 1, trial.n, p)
    assert trial.alpha * (1 - 1e-3) < rate <= trial.alpha
    twice = [k for k in range(1, trial.n + 1) if stats.beta.ppf(2 * trial.alpha, k, trial.n - k + 1) > p]
    assert stats.binom.sf(twice[0] - 1, trial.n, p) > 1.9 * trial.alpha
    assert true_radius(trial, 1) == pytest.approx(1.5 / 8, rel=1e-12)


def test_two_classes_of_one_half_have_no_radius_worth_a_name():
    trial = named("two classes of one half")
    assert trial.known().votes == pytest.approx([0.5, 0.5], abs=1e-8)
    assert true_radius(trial, 0) == 0.0 and true_radius(trial, 1) < 1e-4
    assert trial.n0 == trial.n


def test_votes_and_expected_scores_may_name_other_classes():
    trial = named("rare scores of 0")
    assert trial.known().votes[1] == pytest.approx(0.9)
    assert true_radius(trial, 1) > 0 and true_radius(trial, 1, "salman") == 0.0
    assert true_radius(trial, 0, "salman") > 0


def test_the_noisy_rival_has_as_much_and_often_looks_weaker():
    trial = named("a noisy rival")
    known = trial.known()
    assert known.votes == pytest.approx([0.6, 0.4, 0, 0, 0])
    own, noisy, sure = known._expected("score", known._place[None])[0][:3]
    assert own < noisy < own + 2e-4 and own - 0.0013 < sure < own
    assert true_radius(trial, 0, "salman") == 0.0
    scores = known._values["score"][:, 1]
    spread = np.sqrt(0.24) * abs(scores[0] - scores[1]) / np.sqrt(trial.n)
    assert stats.norm.sf((noisy - sure) / spread) > 0.2


@pytest.mark.parametrize("quick", [True, False])
def test_nearly_all_of_a_class_that_stands_out_can_be_certified(quick):
    for trial in trials(quick):
        known = trial.known()
        assert known.votes.sum() == pytest.approx(1.0) and set(MAIN) <= set(list_mechanisms())
        if trial.clear:
            assert known.votes.max() > 0.65, trial.name
