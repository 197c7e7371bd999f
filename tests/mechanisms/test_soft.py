"""Mechanisms on soft scores, and certified confidence: values, coverage, what is unsound as published."""

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.special import ndtri
from scipy.stats import beta, norm

from lightning_rs import Statistics
from lightning_rs.mechanisms import MARGIN_THRESHOLDS, SCORE_THRESHOLDS, get_mechanism

SOFT = ["salman", "lecuyer_soft", "cullen_soft", "lipschitz", "moutaouakil_soft"]


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


# R / sigma at alpha = .001 and n = 1e5, all of alpha on the one class; Bernoulli and constant samples are exact.
TABLE = {
    "constant": (np.full(100_000, 0.999), {"hoeffding": 2.464, "hoeffding_kl": 2.985, "betting": 3.070}),
    "ones": (np.ones(100_000), {"hoeffding": 2.519, "hoeffding_kl": 3.812, "betting": 3.807}),
    "beta(50,1)": (shuffled_quantiles(beta(50, 1)), {"hoeffding": 1.952, "hoeffding_kl": 2.029, "betting": 2.058}),
    "beta(6,4)": (shuffled_quantiles(beta(6, 4)), {"hoeffding": 0.2381, "hoeffding_kl": 0.2384, "betting": 0.2490}),
}


@pytest.mark.parametrize("case", TABLE)
def test_salman_reaches_the_known_radii(case):
    """With top_share near one and a single rival the bound on the rival is 1 - e0: the one-sided radius."""
    scores, expected = TABLE[case]
    statistics = two_classes(scores)
    for bound, value in expected.items():
        certificate = get_mechanism("salman", bound=bound, top_share=1 - 1e-9).certify(statistics, 0.001)
        assert certificate.radius[0] == pytest.approx(value, abs=2e-3), bound


def test_soft_mechanisms_on_one_pair_keep_their_order():
    rng = np.random.default_rng(1)
    scores = np.stack([rng.dirichlet(a, 4000) for a in ((8, 2, 1), (5, 4, 1), (60, 1, 1), (1, 1, 1))])
    statistics = statistics_of(scores, sigma=0.5)
    of = {name: get_mechanism(name).certify(statistics, 0.001).radius for name in SOFT}
    for name in ("lecuyer_soft", "cullen_soft", "lipschitz"):
        assert np.all(of[name] <= of["salman"] * (1 + 1e-9)), name
    assert np.all(of["salman"][:3] > 0) and of["salman"][3] == 0.0
    known = get_mechanism("lipschitz", base_lipschitz=0.2).certify(statistics, 0.001).radius
    assert np.all(known >= of["lipschitz"])


def true_radius(means):
    """Of the soft smoothed classifier that Gaussian smoothing can realise at worst, sigma = 1."""
    return max(0.0, (norm.ppf(means[0]) - norm.ppf(max(means[1:]))) / 2)


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


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(
    ("name", "options"),
    [
        *(("salman", {"bound": b}) for b in ("hoeffding", "hoeffding_kl", "empirical_bernstein", "betting")),
        ("lipschitz", {}),
        ("cullen_soft", {}),
        ("lecuyer_soft", {}),
        ("moutaouakil_soft", {}),
        ("moutaouakil_soft", {"bound": "hoeffding_kl"}),
    ],
)
def test_coverage_by_simulation(case, name, options):
    alpha, runs, n = 0.1, 400, 300
    rng = np.random.default_rng(2)
    statistics = statistics_of(CASES[case](rng, (runs, n)))
    radius = get_mechanism(name, **options).certify(statistics, alpha).radius
    failures = int((radius > true_radius(MEANS[case]) + 1e-12).sum())
    # Three standard errors above what alpha allows.
    assert failures <= alpha * runs + 3 * np.sqrt(alpha * (1 - alpha) * runs)


def test_direct_margin_against_the_empirical_runner_up_alone_is_unsound():
    """Why the minimum is over all rivals: the one with the smaller mean and the larger variance can be the true one."""
    n, d, alpha = 100_000, 0.00045, 0.001
    rng = np.random.default_rng(3)
    failures, sound, runs = 0, 0, 300
    for _ in range(runs):
        # Margins over a noisy rival (mean b + d) and a constant rival (mean b): only sums matter.
        noisy = 0.3 - d + 0.2 * rng.standard_normal() / np.sqrt(n)
        means, variances = np.array([noisy, 0.3]), np.array([0.04, 0.0])
        log = np.log(2 / alpha)
        lower = means - np.sqrt(2 * variances * log / n) - 7 * 2 * log / (3 * (n - 1))
        truth = 0.3 - d
        failures += lower[means.argmin()] > truth
        sound += lower.min() > truth
    assert failures / runs > 0.1
    assert sound == 0


def test_elementwise_taylor_quantiles_are_unsound():
    """E[2 c_M (X - 1/2)] with X Bernoulli(.6) claims more than the true radius: not shipped."""
    p = 0.6
    truth = ndtri(p)
    coefficients = {1: [1.0], 3: [1.0, np.pi / 12], 5: [1.0, np.pi / 12, 7 * np.pi**2 / 480]}
    for order, claimed in ((3, 0.3163), (5, 0.3524)):
        c = np.sqrt(2 * np.pi) / 2 * sum(coefficients[order])
        assert c * (2 * p - 1) == pytest.approx(claimed, abs=5e-4)
        assert claimed > truth
    assert np.sqrt(2 * np.pi) / 2 * (2 * p - 1) < truth


# R / sigma at confidence .5, alpha = .001, n = 1e5.
CONFIDENCE = {
    "constant": (np.full(100_000, 0.999), 2.464, 2.518, 3.682),
    "beta(50,1)": (shuffled_quantiles(beta(50, 1)), 1.952, 2.425, 3.374),
    "beta(5,1)": (shuffled_quantiles(beta(5, 1)), 0.942, 1.573, 1.559),
    "beta(60,40)": (shuffled_quantiles(beta(60, 40)), 0.239, 1.166, 1.535),
    "beta(.6,.4)": (shuffled_quantiles(beta(0.6, 0.4)), 0.237, 0.280, 0.265),
}


@pytest.mark.parametrize("case", CONFIDENCE)
def test_kumar_reaches_the_known_radii(case):
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


def test_kumar_confidence_at_a_radius_and_radius_at_a_confidence_agree():
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
def test_kumar_coverage_by_simulation(name, band):
    """A worst case for confidence: the score is 1 on a half-space of probability p, so it decays exactly."""
    alpha, runs, n, p, confidence = 0.1, 400, 400, 0.9, 0.6
    own = (np.random.default_rng(4).random((runs, n)) < p).astype(float)
    radius = get_mechanism(name, confidence=confidence, band=band).certify(two_classes(own), alpha).radius
    scaled = confidence if name == "kumar_score" else (confidence + 1) / 2
    failures = int((radius > norm.ppf(p) - norm.ppf(scaled)).sum())
    assert failures <= alpha * runs + 3 * np.sqrt(alpha * (1 - alpha) * runs)


def test_bad_input():
    for name, options, message in (
        (
            "salman",
            {"bound": "clt"},
            "unknown bound 'clt'; known: betting, empirical_bernstein, hoeffding, hoeffding_kl",
        ),
        ("salman", {"top_share": 0}, r"top_share must lie in \(0, 1\), got 0"),
        ("lipschitz", {"base_lipschitz": 0}, "base_lipschitz must be positive, got 0"),
        ("kumar_score", {"confidence": 0.3}, r"confidence must lie in \[0.5, 1\) for kumar_score, got 0.3"),
        ("kumar_margin", {"confidence": 1.0}, r"confidence must lie in \[0, 1\) for kumar_margin, got 1.0"),
        ("kumar_score", {"band": "wide"}, "unknown band 'wide'; known: dkw, grid, naive"),
    ):
        with pytest.raises(ValueError, match=message):
            get_mechanism(name, **options)
    with pytest.raises(
        ValueError, match="salman needs score_sum, selection_counts, which these statistics do not hold"
    ):
        get_mechanism("salman").certify(Statistics.from_counts([[90, 10]], 1.0), 0.001)
