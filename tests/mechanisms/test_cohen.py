from math import inf, sqrt

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mpmath import mpf
from reference import clopper_pearson_upper, quantile
from vote_cases import PROBABILITIES, check_coverage, check_formula, multinomial, true_radius

from lightning_rs import SmoothedClassifier, Statistics
from lightning_rs.mechanisms import ABSTAIN, get_mechanism, neyman_pearson_radius

MECHANISMS = ("cohen", "cohen_two_sided")


def certify(name, counts, alpha=0.001, sigma=1.0, selection=None, **options):
    counts = np.atleast_2d(counts)
    if selection is None:
        selection = counts
    return get_mechanism(name, **options).certify(Statistics.from_counts(counts, sigma, selection), alpha)


def votes_of(top, rival, trials):
    """Counts with the rest spread over classes that are no stronger than the rival."""
    rest = trials - top - rival
    parts = -(-rest // max(rival, 1)) if rest else 1
    return [top, rival, *(rest // parts + (i < rest % parts) for i in range(parts))]


@pytest.mark.parametrize("alpha", [0.05, 0.001, 1e-6])
@pytest.mark.parametrize(
    ("failures", "trials"),
    [(0, 100), (0, 1000), (0, 10**5), (0, 10**6), (0, 10**9), (3, 100), (1, 10**9), (40_000, 10**5), (470, 1000)],
)
def test_one_sided_equals_forty_digits_from_below(failures, trials, alpha):
    certificate = certify("cohen", [trials - failures, failures], alpha, sigma=0.25)
    q = clopper_pearson_upper(failures, trials, alpha, 1 - float(certificate.p_lower[0]) + 1e-12)
    exact = -mpf("0.25") * quantile(q)
    if exact <= 0:
        assert certificate.prediction[0] == ABSTAIN
        return
    assert certificate.radius[0] <= exact
    assert float((exact - certificate.radius[0]) / exact) < 1e-9


@pytest.mark.parametrize(
    ("top", "rival", "trials"), [(400, 100, 1000), (90_000, 5_000, 10**5), (10**6, 0, 10**6), (10**9 - 5, 3, 10**9)]
)
def test_two_sided_equals_forty_digits_from_below(top, rival, trials):
    alpha = 0.001
    certificate = certify("cohen_two_sided", votes_of(top, rival, trials), alpha)
    near = 1 - top / trials + 5 / trials
    rest = clopper_pearson_upper(trials - top, trials, 0.9 * alpha, near)
    p_upper = min(rest, clopper_pearson_upper(rival, trials, alpha - 0.9 * alpha, (rival + 5) / trials))
    exact = (-quantile(rest) - quantile(p_upper)) / 2
    assert certificate.radius[0] <= exact
    assert float((exact - certificate.radius[0]) / exact) < 1e-9


def test_two_sided_radius_is_its_formula_on_the_pair_of_votes():
    check_formula("cohen_two_sided", neyman_pearson_radius)


def test_published_values():
    """Radii / sigma at n = 1e5, alpha = .001; the first is the ceiling of Cohen et al. 2019 ("about 3.8 sigma")."""
    n = 10**5
    assert certify("cohen", [n, 0]).radius[0] == pytest.approx(3.8115, abs=5e-5)
    assert certify("cohen", [100, 0]).radius[0] == pytest.approx(1.5005, abs=5e-5)
    assert certify("cohen_two_sided", [n, 0]).radius[0] == pytest.approx(3.8077, abs=5e-5)
    half = {"top_share": 0.5}
    for p_a, p_b, equal, shares, one_sided in (
        (0.40, 0.10, 0.49860, 0.49779, None),
        (0.60, 0.10, 0.75195, 0.75114, 0.24094),
        (0.90, 0.05, 1.44333, 1.44236, 1.26484),
        (0.45, 0.35, 0.11658, 0.11604, None),
        (0.60, 0.40, 0.24014, 0.24082, 0.24094),
    ):
        counts = votes_of(round(p_a * n), round(p_b * n), n)
        assert certify("cohen_two_sided", counts, **half).radius[0] == pytest.approx(equal, abs=6e-6)
        assert certify("cohen_two_sided", counts).radius[0] == pytest.approx(shares, abs=6e-6)
        certificate = certify("cohen", counts)
        if one_sided is None:
            assert certificate.prediction[0] == ABSTAIN
        else:
            assert certificate.radius[0] == pytest.approx(one_sided, abs=6e-6)


def test_what_it_costs_to_certify_ten_thousand_images_at_once():
    for votes, one, all_at_once in ((90_000, 1.2648, 1.2535), (100_000, 3.8114, 3.5966)):
        radii = [certify("cohen", [votes, 10**5 - votes], alpha).radius[0] for alpha in (1e-3, 1e-3 / 10_000)]
        assert np.floor(np.array(radii) * 1e4).tolist() == [one * 1e4, all_at_once * 1e4]


HARD = [
    (0.5, 0.5, 0.0),
    (1 / 3, 1 / 3, 1 / 3),
    (0.5, 0.25, 0.25),
    (0.4, 0.38, 0.22),
    (0.7, 0.3, 0.0),
    (0.9, 0.05, 0.05),
    (0.98, 0.01, 0.01),
]


@pytest.mark.parametrize("name", MECHANISMS)
@pytest.mark.parametrize("p", HARD)
@pytest.mark.parametrize("alpha", [0.05, 0.01])
def test_coverage_by_enumeration(name, p, alpha):
    """For every class that a selection could have chosen, the radius exceeds the true one with at most alpha."""
    trials = 40
    vectors, weights = multinomial(trials, p)
    for selected in range(3):
        selection = np.tile(np.eye(3, dtype=int)[selected], (len(vectors), 1))
        certificate = certify(name, vectors, alpha, selection=selection)
        assert weights[certificate.radius > true_radius(p, selected)].sum() <= alpha


@pytest.mark.parametrize("name", MECHANISMS)
@pytest.mark.parametrize("p", PROBABILITIES)
def test_coverage_of_few_draws(name, p):
    check_coverage(name, p)


@pytest.mark.parametrize("name", MECHANISMS)
@pytest.mark.parametrize("p", HARD)
def test_same_sample_selection_halves_alpha_and_holds(name, p):
    alpha, trials = 0.05, 40
    vectors, weights = multinomial(trials, p)
    statistics = Statistics.from_counts(vectors, 1.0)
    certificate = get_mechanism(name).certify(statistics, alpha)
    truth = np.array([true_radius(p, s) for s in statistics.selected])
    assert weights[certificate.radius > truth].sum() <= alpha
    assert np.array_equal(certificate.radius, certify(name, vectors, alpha / 2).radius)


def test_same_sample_selection_at_all_of_alpha_would_be_unsound():
    """Why alpha is halved: with two equal classes either can be certified, 1.61 alpha in all."""
    alpha, trials, p = 0.05, 40, (0.5, 0.5, 0.0)
    vectors, weights = multinomial(trials, p)
    failure = weights[certify("cohen", vectors, alpha).radius > 0].sum()
    assert failure / alpha == pytest.approx(1.61, abs=0.005)


def test_rival_is_the_largest_of_the_estimation_votes():
    certificate = certify("cohen_two_sided", [400, 100, 300], selection=[[50, 49, 1]])
    same = certify("cohen_two_sided", [400, 300, 100], selection=[[50, 1, 49]])
    assert certificate.radius[0] == same.radius[0]


@pytest.mark.parametrize("name", MECHANISMS)
def test_abstains_with_radius_zero(name):
    certificate = certify(name, [[500, 500], [0, 1000], [500, 500]], selection=[[9, 1], [9, 1], [1, 9]])
    assert np.array_equal(certificate.prediction, [ABSTAIN] * 3)
    assert np.array_equal(certificate.radius, [0.0] * 3)


def test_only_two_sided_certifies_below_one_half():
    counts = [400] + [60] * 10
    assert certify("cohen", counts).prediction[0] == ABSTAIN
    assert certify("cohen_two_sided", counts).prediction[0] == 0


@pytest.mark.parametrize("name", MECHANISMS)
@pytest.mark.parametrize("alpha", [0.5, 0.05, 0.001, 2.0**-10, 1e-6])
def test_minimum_trials(name, alpha):
    least = get_mechanism(name).minimum_trials(alpha)
    assert certify(name, [least, 0], alpha).prediction[0] == 0
    assert least == 1 or certify(name, [least - 1, 0], alpha).prediction[0] == ABSTAIN


votes = st.tuples(st.integers(1, 10**6), st.integers(0, 10**6), st.integers(0, 10**6))


@given(votes, st.sampled_from([0.05, 0.001, 1e-6]), st.floats(0.05, 2.0))
def test_order_relations(counts, alpha, sigma):
    top, rival, rest = counts
    for name in MECHANISMS:
        selection = [[1, 0, 0]]
        radius = certify(name, [top, rival, rest], alpha, sigma, selection).radius[0]
        assert 0.0 <= radius < inf
        # Rises in the top class's votes, in n at fixed shares and in alpha; scales with sigma.
        assert certify(name, [top + 10, rival, rest], alpha, sigma, selection).radius[0] >= radius
        assert certify(name, [4 * top, 4 * rival, 4 * rest], alpha, sigma, selection).radius[0] >= radius
        assert certify(name, [top, rival, rest], 2 * alpha, sigma, selection).radius[0] >= radius
        assert certify(name, [top, rival, rest], alpha, 2 * sigma, selection).radius[0] == pytest.approx(2 * radius)
        # Votes moved from the top class to a rival never help.
        assert certify(name, [top - 1, rival + 1, rest], alpha, sigma, selection).radius[0] <= radius
    p_upper = certify("cohen_two_sided", [top, rival, rest], alpha, sigma, [[1, 0, 0]])
    assert p_upper.p_lower[0] + p_upper.p_upper[0] <= 1 + 1e-12


def test_zeroth_order_in_other_norms():
    """R in l1, and R / sqrt(d) in l-infinity, which is reached in the corners of the cube."""
    statistics = Statistics(1.0, [[3200, 800], [3300, 700]], [[90, 10]] * 2, input_shape=(1, 10, 10))
    l2, l1, linf = (get_mechanism("cohen", norm=n).certify(statistics, 0.001) for n in ("l2", "l1", "linf"))
    assert (l2.norm, l1.norm, linf.norm) == ("l2", "l1", "linf")
    assert np.array_equal(l1.radius, l2.radius) and np.allclose(linf.radius, l2.radius / 10, rtol=1e-12)
    assert np.all(linf.radius <= l2.radius / 10)
    assert np.all(linf.radius > 0)


def test_linf_is_certified_from_sampled_votes():
    """The shape of the input is all that it needs beside the votes; the least n does not depend on it."""
    g = SmoothedClassifier(lambda x: torch.stack([x[:, 0], -x[:, 0]], dim=1), 2, 0.5)
    x = torch.zeros(2, 3)
    x[:, 0] = torch.tensor([1.0, -1.0])
    of = g.certify(x, n0=10, n=1000, alpha=0.001, mechanisms=["cohen", "cohen:norm=linf"])
    assert np.array_equal(of["cohen:norm=linf"].prediction, [0, 1])
    assert of["cohen:norm=linf"].radius == pytest.approx(of["cohen"].radius / sqrt(3), rel=1e-12)
    assert get_mechanism("cohen", norm="linf").minimum_trials(0.001) == 10


def test_bad_input():
    with pytest.raises(ValueError, match="unknown norm 'l3'; known: l1, l2, linf"):
        get_mechanism("cohen", norm="l3")
    with pytest.raises(ValueError, match=r"alpha must lie in \(0, 1\), got 0"):
        certify("cohen", [10, 0], alpha=0)
    with pytest.raises(ValueError, match=r"top_share must lie in \(0, 1\), got 1"):
        get_mechanism("cohen_two_sided", top_share=1)
