from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from scipy.stats import binom
from score_cases import four_examples
from vote_cases import ALPHAS, PROBABILITIES, VOTES, make, multinomial, radius, true_radius

from lightning_rs import SmoothedClassifier
from lightning_rs.checks import alpha_share
from lightning_rs.mechanisms import ABSTAIN, MECHANISMS, get_mechanism, parse_mechanism
from lightning_rs.mechanisms.voracek import Voracek

LINEAR = "cohen+cohen_two_sided+delattre"


class Mirrored(Voracek):
    """The randomised bound with 1 - U in the place of U, which is uniform as well."""

    name = "mirrored"

    def _certify(self, statistics, alpha):
        return super()._certify(replace(statistics, uniform=1 - statistics.uniform), alpha)


@pytest.fixture
def mirrored():
    MECHANISMS.enter("mirrored", Mirrored)
    yield
    del MECHANISMS._users["mirrored"]


@settings(max_examples=30)
@given(VOTES, ALPHAS)
def test_is_the_largest_radius_at_a_share_of_alpha(counts, alpha):
    selection = [1] + [0] * (len(counts) - 1)
    share = alpha_share(alpha, 3)
    members = [get_mechanism(name).certify(make(counts, selection), share) for name in LINEAR.split("+")]
    best = get_mechanism("best", of=LINEAR).certify(make(counts, selection), alpha)
    largest = max(member.radius[0] for member in members)
    assert best.radius[0] == largest
    assert best.prediction[0] == (0 if largest else ABSTAIN)


@pytest.mark.parametrize("m", [2, 3, 7, 10])
def test_the_shares_add_up_to_at_most_alpha(m):
    of = "+".join(f"cohen_two_sided:top_share={(k + 1) / (m + 1)}" for k in range(m))
    for alpha in (0.001, 0.1, 0.7, 1 / 3, 1e-300):
        share = get_mechanism("best", of=of)._share(alpha)
        assert 0 < m * Fraction(share) <= Fraction(alpha) and share >= alpha / m * (1 - 1e-15)


def test_the_largest_of_two_at_alpha_each_fails_more_often_than_alpha_and_best_does_not(mirrored):
    """Two exact bounds, of U and of 1 - U: wrong in one half of the boundary's draws each. Two classes, .54 and .46."""
    trials, alpha, p, steps = 12, 0.2, 0.54, 50
    weights = binom.pmf(np.arange(trials + 1), trials, p)
    counts = np.array([[top, trials - top] for top in range(trials + 1)])
    uniform = (np.arange(steps) + 0.5) / steps  # The middles of cells: exact to a part of 1 / steps of one count.

    def failure(*names, **options):
        selection = [[1, 0]] * len(counts)
        found = [
            np.max([radius(name, counts, alpha, selection, uniform=u, **options) for name in names], axis=0)
            for u in uniform
        ]
        return ((np.array(found) > true_radius((p, 1 - p), 0) * (1 + 1e-12)) @ weights).mean()

    alone = [failure("voracek"), failure("mirrored")]
    assert alone == pytest.approx([alpha, alpha], abs=1.0 / steps)
    assert failure("voracek", "mirrored") > 1.3 * alpha
    assert failure("best", of="voracek+mirrored") <= alpha


@pytest.mark.parametrize("p", PROBABILITIES[:3])
def test_coverage_by_enumeration(p):
    vectors, weights = multinomial(9, p)
    for selected in range(3):
        selection = np.tile(np.eye(3, dtype=int)[selected], (len(vectors), 1))
        found = radius("best", vectors, 0.1, selection, of="cohen+moutaouakil")
        assert weights[found > true_radius(p, selected)].sum() <= 0.1


def test_members_have_options_and_may_all_be_soft():
    statistics = four_examples()
    best = parse_mechanism("best:of=salman:bound=empirical_bernstein;top_share=0.7+moutaouakil_soft")
    assert (best.smoothing, best.norm, best.keeps) == ("soft", "l2", "class")
    assert best.requires == best.members[0].requires | best.members[1].requires
    members = [get_mechanism("salman", bound="empirical_bernstein", top_share=0.7), get_mechanism("moutaouakil_soft")]
    largest = np.max([member.certify(statistics, 0.005).radius for member in members], axis=0)
    assert best.certify(statistics, 0.01).radius == pytest.approx(largest, rel=1e-12) and largest.max() > 0


def test_what_members_say_it_says():
    best = parse_mechanism("best:of=cohen+moutaouakil+mohapatra_l2")
    assert best.costly and not parse_mechanism("best:of=cohen+li").costly
    assert parse_mechanism("best:of=cohen:norm=linf+mohapatra_linf").norm == "linf"
    assert best.noises == {"gaussian", "grid_gaussian"}
    assert best.minimum_trials(0.001) == get_mechanism("cohen").minimum_trials(0.001 / 3)
    paper = parse_mechanism("best:of=cohen+mohapatra_l2:estimator=paper")
    with pytest.raises(ValueError, match="the paper estimator of .* is proved for gaussian noise alone"):
        paper.check_noise("grid_gaussian")
    with pytest.raises(ValueError, match="not for stochastic ones"):
        paper.check_stochastic()
    with pytest.raises(ValueError, match="paper"):
        paper.check_input((1, 2, 2), 0.001)
    with pytest.raises(ValueError, match="cohen needs a number of draws that is fixed in advance"):
        best.refuse_looks()


def test_certifies_from_one_pass_of_draws():
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, 3))
    net[1].weight.data *= 6
    smoothed = SmoothedClassifier(net, 3, 0.5, levels=255)
    x = torch.randint(0, 256, (4, 3, 4, 4), generator=torch.Generator().manual_seed(0)).float() / 255
    found = smoothed.certify(
        x, n0=50, n=400, alpha=0.01, mechanisms=["best:of=cohen_two_sided+mohapatra_l2", "cohen_two_sided"]
    )
    best, alone = found["best:of=cohen_two_sided+mohapatra_l2"], found["cohen_two_sided"]
    certified = best.radius > 0
    assert certified.any() and np.array_equal(best.prediction[certified], alone.prediction[certified])


@pytest.mark.parametrize(
    ("of", "message"),
    [
        ("cohen", "two or more different mechanisms, as in cohen.moutaouakil, got cohen"),
        ("cohen+cohen", "two or more different"),
        ("cohen+salman", "salman is soft and cohen hard, two classifiers"),
        ("cohen+mohapatra_l1", "mohapatra_l1 certifies in l1 and cohen in l2"),
        ("mohapatra_channel+mohapatra_channel:channel=1", "mohapatra_channel certifies within pixels of its own"),
        ("salman+kumar_score", "kumar_score certifies a score of its own"),
        ("cohen+sequential_betting", "sequential_betting stops drawing when its own answer is known"),
        ("cohen+coen", "unknown mechanism 'coen'"),
        (3, "unknown mechanism '3'"),
    ],
)
def test_bad_input(of, message):
    with pytest.raises(ValueError, match=message):
        get_mechanism("best", of=of)
