"""Known scores, and what every mechanism on scores has to hold on them."""

from functools import cache

import numpy as np
from scipy.stats import norm

from lightning_rs import Statistics
from lightning_rs.mechanisms import get_mechanism
from lightning_rs.statistics import MARGIN_THRESHOLDS, SCORE_THRESHOLDS


def histogram(values, thresholds):
    bins = np.searchsorted(thresholds, values, side="right")
    return np.stack([np.bincount(row, minlength=len(thresholds) + 1) for row in bins])


def statistics_of(scores, sigma=1.0, selected=0):
    """Statistics of score vectors (B, n, K), all fields, from their definitions."""
    scores = np.asarray(scores, dtype=np.float64)
    examples, _, classes = scores.shape
    own = scores[:, :, selected]
    margin = own - np.delete(scores, selected, axis=2).max(axis=2)
    votes = scores.argmax(axis=2)
    return Statistics(
        sigma,
        np.stack([np.bincount(row, minlength=classes) for row in votes]),
        np.tile(np.eye(classes, dtype=int)[selected], (examples, 1)),
        score_sum=scores.sum(1),
        score_square_sum=(scores**2).sum(1),
        margin_sum=margin.sum(1),
        margin_square_sum=((own[:, :, None] - scores) ** 2).sum(1),
        score_histogram=histogram(own, SCORE_THRESHOLDS),
        margin_histogram=histogram(margin, MARGIN_THRESHOLDS),
        scores=own.astype(np.float32),
        uniform=np.full(examples, 0.5),
    )


def two_classes(own):
    own = np.atleast_2d(own)
    return statistics_of(np.stack([own, 1 - own], axis=2))


def shuffled_quantiles(distribution, n=100_000):
    """A sample whose empirical distribution is the true one, in random order."""
    return np.random.default_rng(0).permutation(distribution.ppf((np.arange(n) + 0.5) / n))


@cache
def four_examples():
    """Three examples of class 0, from unclear to confident, and one of no class."""
    rng = np.random.default_rng(1)
    scores = np.stack([rng.dirichlet(a, 4000) for a in ((8, 2, 1), (5, 4, 1), (60, 1, 1), (1, 1, 1))])
    return statistics_of(scores, sigma=0.5)


def check_no_more_than_salman(name):
    """The bounds are the same pair; no radius of it is larger."""
    radius, largest = (get_mechanism(n).certify(four_examples(), 0.001).radius for n in (name, "salman"))
    assert np.all(radius <= largest * (1 + 1e-9))


CASES = {
    "low-variance rivals": lambda rng, size: _rivals(rng, size),
    "two-point": lambda rng, size: _pair((rng.random(size) < 0.7).astype(float)),
    "half": lambda rng, size: _pair((rng.random(size) < 0.5).astype(float)),
    "beta": lambda rng, size: _pair(rng.beta(3, 1, size)),
}
MEANS = {"low-variance rivals": (0.36, 0.32, 0.32), "two-point": (0.7, 0.3), "half": (0.5, 0.5), "beta": (0.75, 0.25)}


def _pair(own):
    return np.stack([own, 1 - own], axis=-1)


def _rivals(rng, size):
    swing = np.where(rng.random(size) < 0.5, 0.3, -0.3)
    return np.stack([np.full(size, 0.36), 0.32 + swing, 0.32 - swing], axis=-1)


def true_radius(means):
    """Of the soft smoothed classifier that Gaussian smoothing can realise at worst, sigma = 1."""
    return max(0.0, (norm.ppf(means[0]) - norm.ppf(max(means[1:]))) / 2)


@cache
def _simulated(case, runs, n):
    return statistics_of(CASES[case](np.random.default_rng(2), (runs, n)))


def check_score_coverage(name, case, **options):
    alpha, runs = 0.1, 400
    radius = get_mechanism(name, **options).certify(_simulated(case, runs, 300), alpha).radius
    failures = int((radius > true_radius(MEANS[case]) + 1e-12).sum())
    # Three standard errors above what alpha allows.
    assert failures <= alpha * runs + 3 * np.sqrt(alpha * (1 - alpha) * runs)
