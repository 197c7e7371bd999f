import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mpmath import mp, mpf
from reference import quantile

from lightning_rs.radii.margin import lipschitz_radius, margin_radius

MARGINS = [1e-300, 1e-20, 1e-12, 1e-6, 1e-3, 0.1, 0.25, 0.49999, 0.5, 0.50001, 0.75, 0.9, 0.999, 1 - 1e-9, 1 - 2**-53]
MARGINS += [0.01, 0.02, 0.05, 0.15, 0.2, 0.3, 0.35, 0.4, 0.45, 0.6, 0.7, 0.8, 0.95, 0.99]


@pytest.fixture(autouse=True)
def digits():
    with mp.workdps(40):
        yield


def check(radius, exact, error=1e-12):
    assert radius <= exact
    assert float((exact - radius) / exact) < error


@pytest.mark.parametrize("margin", MARGINS)
@pytest.mark.parametrize("sigma", [0.12, 1.0])
def test_margin_radius_equals_forty_digits_from_below(margin, sigma):
    if margin < 1e-10:  # (1 + margin) / 2 is 1/2 in forty digits: the linear term is exact to 3 x 40 / 2 digits.
        exact = mp.sqrt(mp.pi / 2) * mpf(margin)
    else:
        exact = -quantile((1 - mpf(margin)) / 2)
    check(margin_radius(margin, sigma), mpf(sigma) * exact)


@pytest.mark.parametrize("margin", [1e-300, 1e-6, 0.3, 1.0])
@pytest.mark.parametrize("sigma", [0.12, 0.5, 1.0])
@pytest.mark.parametrize("base", [1e-100, 1e-6, 0.01, 0.3, 1.0, 7.0, 1e3, 1e9, 1e100])
def test_lipschitz_radius_equals_forty_digits_from_below(margin, sigma, base):
    constant = mp.sqrt(2) * mpf(base)
    exact = mpf(margin) / (constant * mp.erf(1 / (mp.sqrt(2) * mpf(sigma) * constant)))
    check(lipschitz_radius(margin, sigma, base), exact)
    check(lipschitz_radius(margin, sigma), mpf(margin) * mpf(sigma) * mp.sqrt(mp.pi / 2))


def test_limits_of_the_base_constant():
    smoothing_alone = lipschitz_radius(0.4, 0.5)
    assert lipschitz_radius(0.4, 0.5, np.inf) == smoothing_alone
    assert lipschitz_radius(0.4, 0.5, 1e8) == pytest.approx(smoothing_alone, rel=1e-14)
    assert lipschitz_radius(0.4, 0.5, 1e308) == smoothing_alone
    assert lipschitz_radius(0.4, 0.5, 1e-6) == pytest.approx(0.4 / (np.sqrt(2) * 1e-6), rel=1e-13)
    # A known constant never costs radius.
    known = lipschitz_radius(0.4, 0.5, np.geomspace(1e-6, 1e9, 200))
    assert np.all(np.diff(known) <= known[1:] * 1e-14)
    assert np.all(known >= smoothing_alone)


def test_edges():
    for radius in (margin_radius, lipschitz_radius):
        np.testing.assert_array_equal(radius([-1.0, -0.3, -0.0, 0.0], 0.5), 0.0)
    np.testing.assert_array_equal(lipschitz_radius([-0.3, 0.0], 0.5, 0.1), 0.0)
    assert margin_radius(1.0, 0.5) == np.inf
    assert lipschitz_radius(1.0, 0.5) == pytest.approx(0.5 * np.sqrt(np.pi / 2), rel=1e-13)
    assert margin_radius(0.6826894921370859, 1.0) == pytest.approx(1.0, rel=1e-12)


# Below, results are subnormal numbers, which have fewer digits.
margins = st.floats(-1.0, 1.0).filter(lambda m: m <= 0.0 or m > 1e-290)


@given(margin=margins, sigma=st.floats(1e-3, 1e3))
@settings(max_examples=300)
def test_margin_radius_dominates_smoothing_alone_and_scales(margin, sigma):
    assert 0.0 <= lipschitz_radius(margin, sigma) <= margin_radius(margin, sigma)
    assert margin_radius(margin, sigma) == pytest.approx(sigma * margin_radius(margin, 1.0), rel=1e-13)


@given(pair=st.tuples(margins, margins), base=st.none() | st.floats(1e-3, 1e3))
@settings(max_examples=300)
def test_monotone(pair, base):
    low, high = sorted(pair)
    assert lipschitz_radius(low, 0.5, base) <= lipschitz_radius(high, 0.5, base)
    assert margin_radius(low, 0.5) <= margin_radius(high, 0.5) * (1 + 1e-14)


def test_broadcasts():
    margin, sigma, base = np.array([[0.2], [0.9]]), np.array([0.25, 0.5, 1.0]), np.array([1.0, 2.0, np.inf])
    assert margin_radius(margin, sigma).shape == (2, 3)
    result = lipschitz_radius(margin, sigma, base)
    assert result.shape == (2, 3) and result.dtype == np.float64
    assert result[1, 1] == lipschitz_radius(0.9, 0.5, 2.0)
    assert np.ndim(margin_radius(0.5, 0.5)) == np.ndim(lipschitz_radius(0.5, 0.5)) == 0


@pytest.mark.parametrize("radius", [margin_radius, lipschitz_radius])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1.1, 1.0), r"margin must lie in \[-1, 1\], got 1.1"),
        (([0.5, -1.5], 1.0), r"margin must lie in \[-1, 1\], got -1.5"),
        ((float("nan"), 1.0), "margin must lie"),
        ((0.5, 0.0), "sigma must be positive and finite, got 0.0"),
        ((0.5, np.inf), "sigma must be positive and finite, got inf"),
    ],
)
def test_bad_input(radius, arguments, message):
    with pytest.raises(ValueError, match=message):
        radius(*arguments)


@pytest.mark.parametrize("base", [0.0, -1.0, float("nan")])
def test_bad_base_constant(base):
    with pytest.raises(ValueError, match="base_lipschitz must be positive"):
        lipschitz_radius(0.5, 0.5, base)
