"""Mechanisms on hard votes: formulas, order relations, coverage."""

from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta, binom, norm

from lightning_rs import Statistics
from lightning_rs.mechanisms import (
    ABSTAIN,
    analytic_gaussian_radius,
    get_mechanism,
    lecuyer_radius,
    list_mechanisms,
    neyman_pearson_radius,
    renyi_radius,
)

HARD = [
    name
    for name in list_mechanisms()
    if get_mechanism(name).smoothing == "hard" and not {"look_counts", "gradient_counts"} & get_mechanism(name).requires
]


def make(counts, selection=None, sigma=1.0, uniform=0.5):
    counts = np.atleast_2d(counts)
    selection = counts if selection is None else np.atleast_2d(selection)
    return Statistics(sigma, counts, selection, uniform=np.full(len(counts), uniform))


def radius(name, counts, alpha=0.001, selection=None, sigma=1.0, uniform=0.5, **options):
    return get_mechanism(name, **options).certify(make(counts, selection, sigma, uniform), alpha).radius


COUNTS = [[900, 60, 40], [400, 100, 90], [700, 300, 0], [1000, 0, 0], [510, 490, 0], [340, 330, 330]]


def exact_pair(counts, alpha):
    """Clopper-Pearson bounds from SciPy's beta quantiles, at shares .9 and .1."""
    top, rival, n = counts[0], max(counts[1:]), sum(counts)
    lower = beta.ppf(0.9 * alpha, top, n - top + 1)
    upper = beta.isf(0.1 * alpha, rival + 1, n - rival)
    return lower, min(upper, 1 - lower)


@pytest.mark.parametrize(
    ("name", "formula"),
    [
        ("cohen_two_sided", neyman_pearson_radius),
        ("lecuyer", lecuyer_radius),
        ("li", renyi_radius),
        ("cullen", analytic_gaussian_radius),
    ],
)
def test_pair_mechanisms_are_their_formula_on_one_pair(name, formula):
    selection = [[1, 0, 0]] * len(COUNTS)
    got = radius(name, COUNTS, selection=selection, sigma=0.5)
    for counts, value in zip(COUNTS, got, strict=True):
        lower, upper = exact_pair(counts, 0.001)
        expected = formula(lower, upper, 0.5) if lower > upper else 0.0
        assert value == pytest.approx(expected, rel=1e-9, abs=1e-12)


votes = st.lists(st.integers(0, 20_000), min_size=2, max_size=6).filter(lambda v: sum(v) > 0)


@settings(max_examples=60, deadline=None)
@given(votes, st.sampled_from([0.05, 0.001, 1e-6]))
def test_order_relations(counts, alpha):
    selection = [[1] + [0] * (len(counts) - 1)]
    of = {name: radius(name, counts, alpha, selection)[0] for name in ("cohen_two_sided", "lecuyer", "li", "cullen")}
    assert of["cohen_two_sided"] * (1 + 1e-9) >= max(of["lecuyer"], of["li"], of["cullen"])
    everything = radius("ensemble", counts, alpha, selection, members="cohen+cohen_two_sided+lecuyer+li+cullen")[0]
    assert everything == pytest.approx(of["cohen_two_sided"], rel=1e-9)
    published = radius("ensemble", counts, alpha, selection)[0]
    assert max(of["li"], of["cullen"]) <= published <= everything * (1 + 1e-9)
    # One pair at alpha / m each can only be smaller than Lemma R's pair at alpha / 2 each.
    assert radius("delattre", counts, alpha, selection)[0] <= (
        radius("cohen_two_sided", counts, alpha, selection, top_share=0.5)[0] * (1 + 1e-12)
    )
    assert radius("voracek", counts, alpha, selection)[0] >= radius("cohen", counts, alpha, selection)[0] * (1 - 1e-9)


@pytest.mark.parametrize("name", HARD)
def test_scale_and_abstention(name):
    selection = [[1, 0, 0]] * len(COUNTS)
    one, two = (radius(name, COUNTS, selection=selection, sigma=sigma) for sigma in (0.25, 0.5))
    assert np.allclose(two, 2 * one, rtol=1e-9)
    certificate = get_mechanism(name).certify(make([[1, 999, 0], [0, 1000, 0]], [[1, 0, 0]] * 2), 0.001)
    assert np.array_equal(certificate.prediction, [ABSTAIN, ABSTAIN])
    assert np.array_equal(certificate.radius, [0, 0])


def multinomial(trials, p):
    vectors = [(a, b, trials - a - b) for a in range(trials + 1) for b in range(trials - a + 1)]
    weights = [comb(trials, a) * comb(trials - a, b) * p[0] ** a * p[1] ** b * p[2] ** c for a, b, c in vectors]
    return np.array(vectors), np.array(weights)


@pytest.mark.parametrize(
    "p", [(0.5, 0.5, 0.0), (1 / 3, 1 / 3, 1 / 3), (0.5, 0.3, 0.2), (0.8, 0.2, 0.0), (0.97, 0.02, 0.01)]
)
@pytest.mark.parametrize("name", [name for name in HARD if name not in ("voracek", "moutaouakil")])
def test_coverage_by_enumeration(name, p):
    """`moutaouakil` is enumerated with its bound, `voracek` below."""
    alpha, trials = 0.05, 25
    vectors, weights = multinomial(trials, p)
    for selected in range(3):
        rival = max(q for j, q in enumerate(p) if j != selected)
        truth = (norm.ppf(p[selected]) - norm.ppf(rival)) / 2 if p[selected] > rival else 0.0
        selection = np.tile(np.eye(3, dtype=int)[selected], (len(vectors), 1))
        assert weights[radius(name, vectors, alpha, selection) > truth].sum() <= alpha


@pytest.mark.parametrize("p", [0.55, 0.8, 0.97])
def test_randomised_coverage(p):
    """Exactly alpha up to the grid of the uniform draw, except where the radius is capped or abstained."""
    alpha, trials, grid = 0.05, 40, (np.arange(400) + 0.5) / 400
    failure = 0.0
    for x in range(trials + 1):
        given_x = [radius("voracek", [x, trials - x], alpha, [1, 0], uniform=u)[0] > norm.ppf(p) for u in grid[::20]]
        failure += binom.pmf(x, trials, p) * np.mean(given_x)
    assert failure <= alpha + 0.01
    assert np.isfinite(radius("voracek", [trials, 0], alpha, [1, 0], uniform=0.01)[0])


def test_delattre_buckets_by_hand():
    # Selection 50, 30, 12, 5, 3: remaining 20 <= 30, so buckets {0}, {1}, {2, 3, 4}: m = 3.
    counts = [5000, 2000, 1500, 900, 600]
    alpha, n = 0.003, 10_000
    lower = beta.ppf(alpha / 3, 5000, n - 5000 + 1)
    upper = beta.isf(alpha / 3, 3000 + 1, n - 3000)
    expected = (norm.ppf(lower) - norm.ppf(upper)) / 2
    assert radius("delattre", counts, alpha, [50, 30, 12, 5, 3])[0] == pytest.approx(expected, rel=1e-9)
    # Sorted 40, 19, 14, 14, 13, remaining 41 > 19, 27 > 19, 13 <= 19: four singles and a rest, m = 5.
    upper = beta.isf(alpha / 5, 2000 + 1, n - 2000)
    lower = beta.ppf(alpha / 5, 5000, n - 5000 + 1)
    expected = (norm.ppf(lower) - norm.ppf(upper)) / 2
    assert radius("delattre", counts, alpha, [40, 14, 14, 13, 19])[0] == pytest.approx(expected, rel=1e-9)


def test_delattre_can_abstain_where_two_sided_certifies():
    """A thousand classes, a top class of .1 and few selection draws leave a heavy last bucket."""
    counts = np.full(1000, 90)
    counts[0] = 10_090
    selection = np.zeros(1000, dtype=int)
    selection[[0, 0, 5, 9, 12]] = [2, 2, 1, 1, 1]
    assert radius("delattre", counts, selection=selection)[0] == 0.0
    assert radius("cohen_two_sided", counts, selection=selection)[0] > 0.7


def test_moutaouakil_gains_and_published_version_is_unsound():
    n = 100_000
    counts = [40_000, *[10_000] * 6]
    assert radius("moutaouakil", counts)[0] == pytest.approx(0.50229, abs=1e-3)
    assert radius("moutaouakil", counts)[0] > radius("cohen_two_sided", counts)[0]
    # As published, sup P(statistic > observed) = alpha: unanimous votes exclude nothing, so the bound on the margin is
    # one and the radius infinite, with probability p ** n.
    for trials, p, failure in ((100, 0.999, 0.90), (1000, 0.9995, 0.61), (n, 0.99999, 0.37)):
        assert p**trials == pytest.approx(failure, abs=0.01)
        assert np.isfinite(radius("moutaouakil", [trials, 0], 0.05)[0])


def test_bad_input():
    for name, options, message in (
        ("ensemble", {"members": "cohen+salman"}, "unknown member of a hard ensemble 'salman'; known: "),
        ("moutaouakil", {"statistic": "x"}, "unknown statistic 'x'; known: diff, phi"),
        ("lecuyer", {"top_share": 1.5}, r"top_share must lie in \(0, 1\), got 1.5"),
    ):
        with pytest.raises(ValueError, match=message):
            get_mechanism(name, **options)
    alone = Statistics.from_counts([[90, 10]], 1.0)
    with pytest.raises(ValueError, match="delattre needs selection_counts, which these statistics do not hold"):
        get_mechanism("delattre").certify(alone, 0.001)
    with pytest.raises(ValueError, match="voracek needs uniform, which these statistics do not hold"):
        get_mechanism("voracek").certify(alone, 0.001)
