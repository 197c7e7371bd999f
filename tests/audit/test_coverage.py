"""The audit passes where nothing is broken, and fails for each thing that is broken on purpose in what certifies."""

import dataclasses

import numpy as np
import pytest
import torch

from lightning_rs.audit.coverage import Copies, _findings, cases, failures
from lightning_rs.audit.settings import AuditSettings
from lightning_rs.audit.trials import trials
from lightning_rs.bounds import clopper_pearson_lower, clopper_pearson_upper, hoeffding_kl_lower, hoeffding_kl_upper
from lightning_rs.mechanisms import MECHANISMS, cohen, score_pair, sequential, vote_pair
from lightning_rs.mechanisms.cohen import Cohen
from lightning_rs.noise import base as noise_base
from lightning_rs.noise.grid_gaussian import GridGaussianSource
from lightning_rs.radii.neyman_pearson import radius_from_quantiles
from lightning_rs.smoothing import Preparation
from lightning_rs.statistics import Statistics

LIMIT = "coverage: a net that is a half-space, at a limit"
UNANIMOUS = "coverage: all votes for one class"
COIN = "coverage: two classes of one half"
NEAR = "coverage: a half-space near its truth"


def case_named(name, **settings):
    return next(case for case in cases(AuditSettings(quick=True, **settings)) if case.name == name)


def run(name, **settings):
    """Subject of the findings of one case, without its classifier, to the finding; but for the tails."""
    findings = case_named(name, **settings).run()
    return {finding.subject.split(" · ")[0]: finding for finding in findings if finding.check != "tails"}


def failed(name, **settings):
    return {subject for subject, finding in run(name, **settings).items() if not finding.passed}


def twice(bound, parameter=2):
    """The bound at twice the alpha that it is given."""

    def broken(*arguments):
        arguments = list(arguments)
        arguments[parameter] = 2.0 * arguments[parameter]
        return bound(*arguments)

    return broken


def test_what_is_right_passes():
    found = run(COIN)
    assert all(finding.passed for finding in found.values())
    cohen = found["cohen"].numbers
    assert cohen["images"] == 200 and cohen["lower"] < cohen["alpha"] < cohen["upper"]
    assert cohen["wrong"] > 0.6 * 200 * cohen["alpha"], "it fails as often as it may"
    assert found["cohen"].check == "coverage" and found["votes of the selection draws"].check == "draws"


def test_bounds_with_twice_their_alpha(monkeypatch):
    """Of a net in another precision and preparation. The third mechanism, which is as it was, passes."""
    for module in (cohen, vote_pair):
        monkeypatch.setattr(module, "clopper_pearson_lower", twice(clopper_pearson_lower))
        monkeypatch.setattr(module, "clopper_pearson_upper", twice(clopper_pearson_upper))
    preparation = Preparation("bfloat16", channels_last=True, fold_batch_norm=True)
    assert failed(LIMIT, preparation=preparation) == {"cohen", "cohen_two_sided"}


def test_bounds_on_scores_with_twice_their_alpha(monkeypatch):
    monkeypatch.setattr(score_pair, "hoeffding_kl_lower", twice(hoeffding_kl_lower))
    monkeypatch.setattr(score_pair, "hoeffding_kl_upper", twice(hoeffding_kl_upper))
    assert failed(UNANIMOUS) == {"salman:top_share=0.99"}


def test_the_class_is_chosen_by_the_draws_that_certify_it(monkeypatch):
    monkeypatch.setattr(Statistics, "selected", property(lambda self: self.counts.argmax(axis=1)))
    assert {"cohen", "voracek"} <= failed(COIN)


def test_both_stages_share_their_noise(monkeypatch):
    monkeypatch.setattr(noise_base, "_stage_word", lambda stage, purpose: 16 * int(purpose))
    assert {"cohen", "voracek"} <= failed(COIN)


def test_draws_come_in_pairs(monkeypatch):
    draw = GridGaussianSource._draw

    def in_pairs(self, index, stage, block, out):
        draw(self, index, stage, block, out)
        out[1::2] = out[::2]

    monkeypatch.setattr(GridGaussianSource, "_draw", in_pairs)
    assert {"votes of the selection draws", "votes of the estimation draws"} <= failed(COIN)


def test_radii_that_are_larger_by_one_per_cent(monkeypatch):
    monkeypatch.setattr(cohen, "radius_from_quantiles", lambda *p: 1.01 * radius_from_quantiles(*p))
    findings = [finding for finding in case_named(NEAR).run() if not finding.passed]
    assert {(finding.check, finding.subject.split(" · ")[0]) for finding in findings} == {
        ("coverage", "cohen"), ("coverage", "cohen_two_sided"), ("tails", "cohen")
    }  # fmt: skip


@pytest.mark.parametrize(
    "broken",
    [
        lambda votes, trials, alpha: clopper_pearson_upper(votes, trials, alpha) * (1.0 - 1e-9),
        lambda votes, trials, alpha: clopper_pearson_upper(np.maximum(votes - 1, 0), trials, alpha),
    ],
    ids=["rounded to the wrong side", "one vote more"],
)
def test_radii_that_are_larger_by_less_than_failures_show(broken, monkeypatch):
    monkeypatch.setattr(cohen, "clopper_pearson_upper", broken)
    trial = next(trial for trial in trials(quick=True) if LIMIT.endswith(trial.name))
    findings = _findings(dataclasses.replace(trial, images=20, mechanisms=("cohen",)), AuditSettings(), 1e-6)
    assert [finding.passed for finding in findings if finding.check == "tails"] == [False]


def test_each_look_as_if_it_were_the_only_one(monkeypatch):
    def fixed(successes, draws, alpha):
        return np.where(draws > 0, clopper_pearson_lower(successes, np.maximum(draws, 1), alpha), 0.0)

    monkeypatch.setattr(sequential, "sequential_lower", fixed)
    assert failed("coverage: a half-space, sequential_betting") == {"sequential_betting"}


def test_what_one_finding_says():
    trial = next(trial for trial in trials(quick=True) if trial.clear)
    predictions, radii = np.array([1, 1, -1, 1]), np.array([0.1, 0.2, 0.0, 0.3])
    finding = failures(trial, "cohen", predictions, radii, np.array([0.4, 0.4, 0.0, 0.2]), 1e-6)
    assert finding.passed and finding.subject == f"cohen · {trial.name}"
    assert finding.seen.startswith("1 of 4 wrong (") and "claims 0.38 of the true radius, 0.500 at most" in finding.seen
    assert (finding.numbers["wrong"], finding.numbers["certified"]) == (1, 3)
    abstained = (np.full(4, -1), np.zeros(4), np.zeros(4))
    finding = failures(trial, "cohen", *abstained, 1e-6)
    assert not finding.passed and finding.seen.endswith("abstains on all") and "some certified" in finding.expected
    assert failures(dataclasses.replace(trial, clear=False), "cohen", *abstained, 1e-6).passed
    # A claim where nothing is true, at every radius however small.
    assert not failures(trial, "cohen", np.ones(40, int), np.full(40, 1e-9), np.zeros(40), 1e-6).passed


def test_a_mechanism_that_no_case_covers(monkeypatch):
    class Odd(Cohen):
        name = "odd"

        def __init__(self, of):
            super().__init__()

    class Vague(Cohen):
        name, keeps = "vague", "ranking"

    found = run("coverage: every mechanism")["every registered mechanism"]
    assert found.passed
    monkeypatch.setattr(MECHANISMS, "_users", {"odd": Odd, "vague": Vague})
    found = run("coverage: every mechanism")["every registered mechanism"]
    assert not found.passed and found.seen == "not tried: odd, vague"


def test_names_of_cases_differ_and_say_what_they_are():
    names = [case.name for case in cases(AuditSettings())]
    assert len(set(names)) == len(names) and all(name.startswith("coverage: ") for name in names)
    assert {LIMIT, UNANIMOUS, COIN, NEAR} <= set(names)


def test_copies():
    copies = Copies(torch.zeros(1, 2, 2), 3, 5)
    assert len(copies) == 5 and copies[4][1] == 3 and copies[4][0] is copies[0][0]
