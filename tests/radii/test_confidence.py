import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mpmath import mp, mpf
from reference import quantile

from lightning_rs.radii.confidence import certified_confidence, confidence_radius
from lightning_rs.radii.margin import margin_radius
from lightning_rs.radii.neyman_pearson import neyman_pearson_radius


@pytest.fixture(autouse=True)
def digits():
    with mp.workdps(40):
        yield


def exact_confidence(thresholds, survival, sigma, radius, low):
    """The sum as written, with the probabilities raised from the right."""
    total, before = mpf(low), mpf(low)
    for j, threshold in enumerate(thresholds):
        p = max(survival[j:])
        if p == 1:
            term = mpf(1)
        else:
            term = mp.ncdf(quantile(p) - mpf(radius) / mpf(sigma)) if p > 0 else mpf(0)
        total += (mpf(threshold) - before) * term
        before = mpf(threshold)
    return total


def exact_radius(thresholds, survival, sigma, confidence, low):
    """By bisection, in units of sigma, to 25 digits."""
    quantiles = [quantile(max(survival[j:])) for j in range(len(thresholds)) if max(survival[j:]) > 0]
    steps = [mpf(b) - mpf(a) for a, b in zip([low, *thresholds], thresholds, strict=False)]

    def excess(x):
        terms = (w * mp.ncdf(q - x) for w, q in zip(steps, quantiles, strict=False))
        return mpf(low) + mp.fsum(terms) - mpf(confidence)

    a, b = mpf(0), mpf(60)
    assert excess(a) > 0 > excess(b)
    for _ in range(60):
        middle = (a + b) / 2
        a, b = (middle, b) if excess(middle) > 0 else (a, middle)
    return mpf(sigma) * a


# thresholds, bounds on the survival function, confidence, low
CASES = [
    ([1.0], [0.9], 0.5, 0.0),
    ([1.0], [0.9999], 0.01, 0.0),
    ([1.0], [1 - 1e-12], 0.999, 0.0),
    ([0.5], [0.6], 0.01, 0.0),
    ([0.2, 0.4, 0.6, 0.8, 1.0], [0.99, 0.97, 0.9, 0.6, 0.1], 0.5, 0.0),
    ([0.2, 0.4, 0.6, 0.8, 1.0], [0.99, 0.97, 0.9, 0.6, 0.1], 0.7, 0.0),
    ([0.2, 0.4, 0.6, 0.8, 1.0], [0.99, 0.97, 0.9, 0.6, 0.1], 0.01, 0.0),
    ([0.2, 0.4, 0.6, 0.8, 1.0], [0.99, 0.9, 0.95, 0.0, 0.1], 0.5, 0.0),
    ([0.2, 0.4, 0.9], [0.99, 0.9, 0.0], 0.3, 0.0),
    ([-0.5, 0.0, 0.5, 1.0], [0.999, 0.99, 0.9, 0.3], 0.0, -1.0),
    ([-0.5, 0.0, 0.5, 1.0], [0.999, 0.99, 0.9, 0.3], 0.5, -1.0),
    ([-0.5, 0.0, 0.5, 1.0], [0.999, 0.99, 0.9, 0.3], -0.9, -1.0),
    ([-0.5, 0.0, 0.5, 1.0], [0.999, 0.99, 0.9, 0.3], -1 + 1e-6, -1.0),
    ([1e-9, 0.5, 1.0], [1 - 1e-9, 0.5, 1e-9], 1e-10, 0.0),
    ([0.3, 0.3, 0.6], [0.9, 0.8, 0.7], 0.3, 0.0),
    ([0.9, 1.0], [1e-6, 1e-9], 1e-12, 0.0),
]
CASES += [
    (list(np.arange(1, 41) / 40.0), list(np.clip(1.0 - (np.arange(1, 41) / 40.0) ** a - b, 0.0, 1.0)), c, 0.0)
    for a, b, c in [(5.0, 0.006, 0.5), (50.0, 0.006, 0.9), (2.0, 0.03, 0.4), (0.8, 0.01, 0.3), (9.0, 1e-6, 0.05)]
]
CASES += [
    (list(np.linspace(-1.0, 1.0, 31)[1:]), list(np.linspace(1.0, 0.0, 30) ** a * (1 - 1e-4)), c, -1.0)
    for a, c in [(0.1, 0.5), (0.3, 0.0), (0.02, 0.8), (1.0, -0.5)]
]


@pytest.mark.parametrize("case", range(len(CASES)))
def test_radius_equals_forty_digits_from_below(case):
    thresholds, survival, confidence, low = CASES[case]
    sigma = (0.12, 0.25, 1.0)[case % 3]
    exact = exact_radius(thresholds, survival, sigma, confidence, low)
    radius = confidence_radius(thresholds, survival, sigma, confidence, low=low)
    assert radius <= exact
    assert float((exact - radius) / exact) < 1e-9
    assert certified_confidence(thresholds, survival, sigma, radius, low=low) >= confidence


@pytest.mark.parametrize("case", range(len(CASES)))
@pytest.mark.parametrize("radius", [0.0, 0.4, 3.0])
def test_confidence_equals_forty_digits_from_below(case, radius):
    thresholds, survival, _, low = CASES[case]
    exact = exact_confidence(thresholds, survival, 0.5, radius, low)
    bound = certified_confidence(thresholds, survival, 0.5, radius, low=low)
    assert low <= bound <= exact
    assert float(exact - bound) <= 1e-9 * float(exact - low) + 3e-16


@pytest.mark.parametrize(
    ("mean", "low", "confidence"), [(0.9, 0.0, 0.5), (0.99, 0.0, 0.6), (0.7, -1.0, 0.0), (0.2, -1.0, 0.1)]
)
def test_bound_from_the_mean_alone(mean, low, confidence):
    # R = sigma (Phi^-1(p) - Phi^-1((c - low) / (high - low))) with p = (mean - low) / (high - low).
    p, c = (mean - low) / (1.0 - low), (confidence - low) / (1.0 - low)
    radius = confidence_radius([1.0], [p], 0.5, confidence, low=low)
    assert radius == pytest.approx(2.0 * neyman_pearson_radius(p, c, 0.5), rel=1e-11)
    if confidence == 0.0:
        assert radius == pytest.approx(margin_radius(mean, 0.5), rel=1e-11)


def test_other_ranges():
    # An affine change of the scores changes nothing.
    thresholds, survival = np.array([0.2, 0.5, 0.9]), [0.99, 0.8, 0.4]
    plain = confidence_radius(thresholds, survival, 0.5, 0.4)
    assert confidence_radius(10.0 * thresholds - 3.0, survival, 0.5, 1.0, low=-3.0, high=7.0) == pytest.approx(plain)


def test_table_of_bands():
    # Beta(5, 1) scores, n = 1e5, alpha = .001, one-sided Dvoretzky-Kiefer-Wolfowitz band and Hoeffding's bound. The
    # expected values come from draws, these from the distribution itself.
    gap = np.sqrt(np.log(1e3) / 2e5)
    thresholds = (np.arange(1, 100_001) / 100_000.0) ** 0.2
    survival = np.clip(1.0 - thresholds**5 - gap, 0.0, 1.0)
    assert confidence_radius(thresholds, survival, 1.0, 0.5) == pytest.approx(1.573, abs=4e-3)
    assert confidence_radius([1.0], [5.0 / 6.0 - gap], 1.0, 0.5) == pytest.approx(0.942, abs=4e-3)
    # Scores that are all .999.
    assert confidence_radius([0.999], [1.0 - gap], 1.0, 0.5) == pytest.approx(2.518, abs=6e-4)


def test_edges():
    thresholds = [0.5, 1.0]
    assert confidence_radius(thresholds, [0.0, 0.0], 1.0, 0.5) == 0.0
    assert confidence_radius(thresholds, [0.6, 0.4], 1.0, 0.5) == 0.0  # C(0) = .5
    assert confidence_radius(thresholds, [0.6, 0.4], 1.0, 0.6) == 0.0
    assert confidence_radius(thresholds, [1.0, 1.0], 1.0, 1.0) == 0.0
    # A certain score of at least 1/2 keeps any lower confidence at every distance, and no higher one.
    assert confidence_radius(thresholds, [1.0, 0.3], 1.0, 0.4) == np.inf
    finite = confidence_radius(thresholds, [1.0, 0.9], 0.5, 0.7)
    assert finite == pytest.approx(2.0 * neyman_pearson_radius(0.9, 0.4, 0.5), rel=1e-11)
    assert certified_confidence(thresholds, [1.0, 0.9], 0.5, np.inf) == pytest.approx(0.5, rel=1e-12)
    assert certified_confidence(thresholds, [0.9, 0.8], 0.5, 1e300) == 0.0
    assert certified_confidence(thresholds, [1.0, 1.0], 0.5, 7.0) == pytest.approx(1.0, rel=1e-12)
    assert certified_confidence(thresholds, [0.0, 0.0], 0.5, 0.0, low=-1.0) == -1.0


def test_probabilities_are_raised_from_the_right():
    thresholds = [0.2, 0.4, 0.6]
    raised = confidence_radius(thresholds, [0.9, 0.9, 0.9], 1.0, 0.3)
    assert confidence_radius(thresholds, [0.5, 0.0, 0.9], 1.0, 0.3) == raised


bands = st.lists(st.floats(0.0, 1.0).map(lambda p: min(p, 1 - 1e-12)), min_size=1, max_size=12)


@given(band=bands, confidence=st.floats(0.001, 0.999), sigma=st.floats(0.05, 5.0), grow=st.floats(0.0, 1.0))
@settings(max_examples=120)
def test_monotone_and_safe(band, confidence, sigma, grow):
    thresholds = np.arange(1, len(band) + 1) / len(band)
    band = np.array(band)
    radius = confidence_radius(thresholds, band, sigma, confidence)
    at_centre = certified_confidence(thresholds, band, sigma, 0.0)
    assert np.isfinite(radius) and radius >= 0.0
    if radius > 0.0:
        assert certified_confidence(thresholds, band, sigma, radius) >= confidence
        assert certified_confidence(thresholds, band, sigma, radius * 1.001 + 1e-6 * sigma) < confidence
    else:
        assert at_centre <= confidence + 1e-11
    assert confidence_radius(thresholds, band, sigma, min(1.0, 1.01 * confidence)) <= radius * (1 + 1e-9)
    larger = confidence_radius(thresholds, band + grow * (1 - 1e-12 - band), sigma, confidence)
    assert larger >= radius * (1 - 1e-9) - 1e-12
    # The whole distribution certifies no less than its mean does.
    mean = certified_confidence(thresholds, band, 1.0, 0.0)
    assert radius >= confidence_radius([1.0], [min(mean, 1.0)], sigma, confidence) * (1 - 1e-6) - 1e-9


def test_rows():
    generator = np.random.default_rng(3)
    thresholds = np.arange(1, 21) / 20.0
    survival = np.sort(generator.random((4, 5, 20)), axis=-1)[..., ::-1]
    sigma, confidence = np.array([0.25, 0.5, 1.0, 1.0])[:, None], np.array([0.05, 0.1, 0.3, 0.5, 0.9])
    radius = confidence_radius(thresholds, survival, sigma, confidence)
    bound = certified_confidence(thresholds, survival, sigma, radius)
    assert radius.shape == bound.shape == (4, 5) and radius.dtype == np.float64
    assert np.all(bound[radius > 0.0] >= np.broadcast_to(confidence, (4, 5))[radius > 0.0])
    for i in range(4):
        for j in range(5):
            alone = confidence_radius(thresholds, survival[i, j], sigma[i, 0], confidence[j])
            assert radius[i, j] == pytest.approx(alone, rel=1e-10)
            assert np.ndim(alone) == 0
    # Thresholds of their own for every row, and one band for several confidences.
    own = np.broadcast_to(thresholds, survival.shape) * np.ones((4, 5, 1))
    np.testing.assert_allclose(confidence_radius(own, survival, sigma, confidence), radius, rtol=1e-10)
    shared = confidence_radius(thresholds, survival[0, 0], 0.5, confidence)
    assert shared[1] == pytest.approx(confidence_radius(thresholds, survival[0, 0], 0.5, 0.1), rel=1e-10)
    shared = certified_confidence(thresholds, survival[0, 0], 0.5, [0.1, 0.2, 0.3])
    assert shared[1] == pytest.approx(certified_confidence(own[0, 0], survival[0, 0], 0.5, 0.2), rel=1e-12)
    assert confidence_radius(thresholds, np.zeros((0, 20)), 0.5, 0.5).shape == (0,)
    assert certified_confidence(thresholds, np.zeros((0, 20)), 0.5, 0.5).shape == (0,)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"thresholds": [0.5, 1.1]}, r"thresholds must lie in \(0.0, 1.0\], got 1.1"),
        ({"thresholds": [0.0, 0.5]}, r"thresholds must lie in \(0.0, 1.0\], got 0.0"),
        ({"thresholds": [0.5, float("nan")]}, "thresholds must lie"),
        ({"thresholds": [0.8, 0.5]}, "thresholds must ascend"),
        ({"thresholds": [0.5]}, "last axes of one length"),
        ({"thresholds": 0.5}, "last axes of one length"),
        ({"thresholds": [], "survival_lower": []}, "at least one threshold"),
        ({"survival_lower": [0.5, 1.1]}, r"survival_lower must lie in \[0, 1\], got 1.1"),
        ({"survival_lower": [0.5, float("nan")]}, "survival_lower must lie"),
        ({"sigma": 0.0}, "sigma must be positive and finite, got 0.0"),
        ({"low": 1.0}, "low must be below high"),
        ({"high": np.inf}, "low must be below high and both finite"),
    ],
)
def test_bad_input(changes, message):
    arguments = {"thresholds": [0.5, 1.0], "survival_lower": [0.9, 0.5], "sigma": 0.5} | changes
    with pytest.raises(ValueError, match=message):
        confidence_radius(**arguments, confidence=0.5)
    with pytest.raises(ValueError, match=message):
        certified_confidence(**arguments, radius=0.5)


@pytest.mark.parametrize("confidence", [0.0, -0.1, 1.1, float("nan")])
def test_bad_confidence(confidence):
    with pytest.raises(ValueError, match=r"confidence must lie in \(0.0, 1.0\]"):
        confidence_radius([0.5], [0.9], 0.5, confidence)


@pytest.mark.parametrize("radius", [-0.1, float("nan")])
def test_bad_radius(radius):
    with pytest.raises(ValueError, match="radius must be at least 0"):
        certified_confidence([0.5], [0.9], 0.5, radius)
