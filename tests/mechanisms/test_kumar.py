"""Certified confidence: known radii, agreement of radius and confidence, coverage."""

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import beta, norm
from score_cases import shuffled_quantiles, two_classes

from lightning_rs.mechanisms import get_mechanism

# R / sigma at confidence .5, alpha = .001, n = 1e5.
CONFIDENCE = {
    "constant": (np.full(100_000, 0.999), 2.464, 2.518, 3.682),
    "beta(50,1)": (shuffled_quantiles(beta(50, 1)), 1.952, 2.425, 3.374),
    "beta(5,1)": (shuffled_quantiles(beta(5, 1)), 0.942, 1.573, 1.559),
    "beta(60,40)": (shuffled_quantiles(beta(60, 40)), 0.239, 1.166, 1.535),
    "beta(.6,.4)": (shuffled_quantiles(beta(0.6, 0.4)), 0.237, 0.280, 0.265),
}


@pytest.mark.parametrize("case", CONFIDENCE)
def test_reaches_the_known_radii(case):
    scores, *expected = CONFIDENCE[case]
    statistics = two_classes(scores)
    for band, value in zip(("naive", "dkw", "grid"), expected, strict=True):
        radius = get_mechanism("kumar_score", confidence=0.5, band=band).certify(statistics, 0.001).radius[0]
        # The bands' thresholds are not those of the table; more than the worst classifier allows is impossible.
        assert value - 0.15 <= radius <= distribution_radius(scores), band


def distribution_radius(scores):
    """Where the confidence of the worst classifier with exactly this distribution of scores falls to one half."""
    values = np.sort(scores)
    steps = np.diff(values, prepend=0.0)
    quantiles = norm.ppf(1.0 - np.arange(len(values)) / len(values))
    if values[0] >= 0.5:
        return np.inf
    return brentq(lambda r: steps @ norm.cdf(quantiles - r) - 0.5, 0.0, 50.0)


def test_confidence_at_a_radius_and_radius_at_a_confidence_agree():
    statistics = two_classes(np.random.default_rng(0).beta(8, 1, (3, 5000)))
    for name, low in (("kumar_score", 0.5), ("kumar_margin", 0.0)):
        for confidence in (low, low + 0.2):
            mechanism = get_mechanism(name, confidence=confidence)
            radius = mechanism.certify(statistics, 0.01).radius
            assert np.all(radius > 0)
            at = [mechanism.certified_confidence(statistics, 0.01, float(r))[i] for i, r in enumerate(radius)]
            assert np.all(np.array(at) >= confidence)
            beyond = [mechanism.certified_confidence(statistics, 0.01, 1.001 * r)[i] for i, r in enumerate(radius)]
            assert np.all(np.array(beyond) < confidence)


@pytest.mark.parametrize("band", ["naive", "dkw", "grid"])
@pytest.mark.parametrize("name", ["kumar_score", "kumar_margin"])
def test_coverage_by_simulation(name, band):
    """A worst case for confidence: the score is 1 on a half-space of probability p, so it decays exactly."""
    alpha, runs, n, p, confidence = 0.1, 400, 400, 0.9, 0.6
    own = (np.random.default_rng(4).random((runs, n)) < p).astype(float)
    radius = get_mechanism(name, confidence=confidence, band=band).certify(two_classes(own), alpha).radius
    scaled = confidence if name == "kumar_score" else (confidence + 1) / 2
    failures = int((radius > norm.ppf(p) - norm.ppf(scaled)).sum())
    assert failures <= alpha * runs + 3 * np.sqrt(alpha * (1 - alpha) * runs)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("kumar_score", {"confidence": 0.3}, r"confidence must lie in \[0.5, 1\) for kumar_score, got 0.3"),
        ("kumar_margin", {"confidence": 1.0}, r"confidence must lie in \[0, 1\) for kumar_margin, got 1.0"),
        ("kumar_score", {"band": "wide"}, "unknown band 'wide'; known: dkw, grid, naive"),
    ],
)
def test_bad_input(name, options, message):
    with pytest.raises(ValueError, match=message):
        get_mechanism(name, **options)
