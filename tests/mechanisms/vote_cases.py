"""Known votes, and what every mechanism on votes has to hold on them."""

from math import comb

import numpy as np
import pytest
from hypothesis import strategies as st
from scipy.stats import beta, norm

from lightning_rs import Statistics
from lightning_rs.mechanisms import get_mechanism

COUNTS = [[900, 60, 40], [400, 100, 90], [700, 300, 0], [1000, 0, 0], [510, 490, 0], [340, 330, 330]]
PROBABILITIES = [(0.5, 0.5, 0.0), (1 / 3, 1 / 3, 1 / 3), (0.5, 0.3, 0.2), (0.8, 0.2, 0.0), (0.97, 0.02, 0.01)]
VOTES = st.lists(st.integers(0, 20_000), min_size=2, max_size=6).filter(lambda v: sum(v) > 0)
ALPHAS = st.sampled_from([0.05, 0.001, 1e-6])


def make(counts, selection=None, sigma=1.0, uniform=0.5):
    counts = np.atleast_2d(counts)
    selection = counts if selection is None else np.atleast_2d(selection)
    return Statistics(sigma, counts, selection, uniform=np.broadcast_to(uniform, len(counts)))


def radius(name, counts, alpha=0.001, selection=None, sigma=1.0, uniform=0.5, **options):
    return get_mechanism(name, **options).certify(make(counts, selection, sigma, uniform), alpha).radius


def of_first(name, counts, alpha, **options):
    """Radius of one example whose selection votes chose class 0."""
    return radius(name, counts, alpha, [1] + [0] * (len(counts) - 1), **options)[0]


def exact_pair(counts, alpha):
    """Clopper-Pearson bounds from SciPy's beta quantiles, at shares .9 and .1."""
    top, rival, n = counts[0], max(counts[1:]), sum(counts)
    lower = beta.ppf(0.9 * alpha, top, n - top + 1)
    upper = beta.isf(0.1 * alpha, rival + 1, n - rival)
    return lower, min(upper, 1 - lower)


def check_formula(name, formula):
    """The radius is the formula of `exact_pair`."""
    got = radius(name, COUNTS, selection=[[1, 0, 0]] * len(COUNTS), sigma=0.5)
    for counts, value in zip(COUNTS, got, strict=True):
        lower, upper = exact_pair(counts, 0.001)
        expected = formula(lower, upper, 0.5) if lower > upper else 0.0
        assert value == pytest.approx(expected, rel=1e-9, abs=1e-12)


def multinomial(trials, p):
    """All count vectors of three classes and their probabilities."""
    vectors = [(a, b, trials - a - b) for a in range(trials + 1) for b in range(trials - a + 1)]
    weights = [comb(trials, a) * comb(trials - a, b) * p[0] ** a * p[1] ** b * p[2] ** c for a, b, c in vectors]
    return np.array(vectors), np.array(weights)


def true_radius(p, selected):
    """Largest radius that the true probabilities imply for the selected class (sigma = 1)."""
    rival = max(q for j, q in enumerate(p) if j != selected)
    return (norm.ppf(p[selected]) - norm.ppf(rival)) / 2 if p[selected] > rival else 0.0


def check_coverage(name, p, alpha=0.05, trials=25):
    """For every class that a selection could have chosen, the radius exceeds the true one with at most alpha."""
    vectors, weights = multinomial(trials, p)
    for selected in range(3):
        selection = np.tile(np.eye(3, dtype=int)[selected], (len(vectors), 1))
        assert weights[radius(name, vectors, alpha, selection) > true_radius(p, selected)].sum() <= alpha
