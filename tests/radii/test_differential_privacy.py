import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mpmath import mp, mpf
from reference import quantile

from lightning_rs.radii.differential_privacy import analytic_gaussian_radius, lecuyer_radius, renyi_radius
from lightning_rs.radii.neyman_pearson import neyman_pearson_radius

RADII = [lecuyer_radius, renyi_radius, analytic_gaussian_radius]

# Leads clear, small and tiny; near the corners; e0 + e1 > 1; the classes' probabilities both small.
PAIRS = [
    (0.9, 0.05),
    (0.6, 0.4),
    (0.5, 0.499),
    (0.5001, 0.4999),
    (0.500001, 0.499999),
    (0.3, 0.29999),
    (0.4, 0.1),
    (0.45, 0.35),
    (0.25, 0.2),
    (0.1, 1e-3),
    (1e-3, 9e-4),
    (1e-8, 1e-9),
    (1e-20, 3e-21),
    (0.524, 1e-9),
    (0.51, 1e-100),
    (0.51, 1e-300),
    (0.99, 0.01),
    (0.99, 0.001),
    (0.999, 0.001),
    (0.999, 1e-30),
    (1 - 1e-9, 1e-9),
    (1 - 1e-9, 1e-12),
    (1 - 1e-15, 1e-15),
    (1.0, 1e-6),
    (1.0, 0.5),
    (0.95, 0.9),
    (0.8, 0.799),
    (0.7, 0.5),
    (1.0, 1 - 1e-6),
]


def maximum(function, low, high, points, steps=32):
    """The largest value of a function on [low, high], by an even grid and golden-section search around its best."""
    low, high = mpf(low), mpf(high)
    grid = [low + (high - low) * k / points for k in range(points + 1)]
    values = [function(x) for x in grid]
    best = max(values)
    at = values.index(best)
    a, b = grid[max(at - 1, 0)], grid[min(at + 1, points)]
    golden = (mp.sqrt(5) - 1) / 2
    c, d = b - golden * (b - a), a + golden * (b - a)
    at_c, at_d = function(c), function(d)
    for _ in range(steps):
        if at_c > at_d:
            b, d, at_d = d, c, at_c
            c = b - golden * (b - a)
            at_c = function(c)
        else:
            a, c, at_c = c, d, at_d
            d = a + golden * (b - a)
            at_d = function(d)
        best = max(best, at_c, at_d)
    return best


def exact_lecuyer(e0, e1):
    e0, e1 = mpf(e0), mpf(e1)

    def radius(eps):
        delta = (e0 - mp.exp(2 * eps) * e1) / (1 + mp.exp(eps))
        return eps / mp.sqrt(2 * mp.log(mpf(1.25) / delta)) if delta > 0 else mpf(0)

    return maximum(radius, 0, 1 if e1 == 0 else min(1, mp.log(e0 / e1) / 2), 20)


def exact_renyi(e0, e1):
    e0, e1 = mpf(e0), mpf(e1)
    limit = mp.sqrt(-2 * mp.log(1 - (mp.sqrt(e0) - mp.sqrt(e1)) ** 2)) if (e0, e1) != (1, 0) else mp.inf

    def radius(log_excess):
        w = 1 + mp.exp(log_excess)
        mean = ((e0 ** (1 - w) + e1 ** (1 - w)) / 2) ** (1 / (1 - w)) if e1 > 0 else mpf(0)
        return mp.sqrt(-(2 / w) * mp.log(1 - e0 - e1 + 2 * mean))

    return max(limit, maximum(radius, -16, 8, 32))


def delta_of(eps, t):
    return mp.ncdf(t / 2 - eps / t) - mp.exp(eps) * mp.ncdf(-t / 2 - eps / t)


def exact_analytic_gaussian(e0, e1, largest=None):
    e0, e1 = mpf(e0), mpf(e1)

    def distance(eps):
        target = (e0 - mp.exp(2 * eps) * e1) / (1 + mp.exp(eps))
        if target <= 0:
            return mpf(0)
        # Newton's method on the logarithm, from a distance that is too short:
        # delta <= Phi(t/2 - eps/t), and Phi(q) <= exp(-q^2 / 2) / 2.
        q = -mp.sqrt(-2 * mp.log(2 * target)) if target < 0.5 else mpf(0)
        t = max(q + mp.sqrt(q * q + 2 * eps), target)
        for _ in range(100):
            delta = delta_of(eps, t)
            step = mp.log(delta / target) * delta / mp.npdf(t / 2 - eps / t)
            t -= step
            if abs(step) < t * mpf(10) ** -15:  # Newton's next error is the square of this one.
                return t
        raise ArithmeticError(f"no convergence at eps={eps}")

    return maximum(distance, 0, mp.log(e0 / e1) / 2 if largest is None else largest, 12, steps=27)


@pytest.fixture(autouse=True)
def digits():
    with mp.workdps(40):
        yield


def check(radius, exact, error):
    assert radius <= exact
    assert float((exact - radius) / exact) < error


@pytest.mark.parametrize(("e0", "e1"), [*PAIRS, (0.7, 0.0), (1e-9, 0.0), (1.0, 0.0)])
def test_lecuyer_equals_forty_digits_from_below(e0, e1):
    check(lecuyer_radius(e0, e1, 0.25), mpf(0.25) * exact_lecuyer(e0, e1), 1e-9)


@pytest.mark.parametrize(("e0", "e1"), PAIRS)
def test_renyi_equals_eighty_digits_from_below(e0, e1):
    with mp.workdps(80):
        check(renyi_radius(e0, e1, 0.5), mpf(0.5) * exact_renyi(e0, e1), 1e-9)


@pytest.mark.parametrize(("e0", "e1"), PAIRS)
def test_analytic_gaussian_equals_forty_digits_from_below(e0, e1):
    check(analytic_gaussian_radius(e0, e1, 0.12), mpf(0.12) * exact_analytic_gaussian(e0, e1), 1e-9)


@pytest.mark.parametrize("e0", [1e-9, 0.3, 0.7, 0.999, 1.0])
def test_rival_that_never_occurs(e0):
    # The power mean vanishes; the best Renyi order is the limit 1.
    exact = mp.sqrt(-2 * mp.log1p(-mpf(e0))) if e0 < 1 else mp.inf
    if e0 < 1:
        check(renyi_radius(e0, 0.0, 1.0), exact, 1e-9)
    else:
        assert renyi_radius(e0, 0.0, 1.0) == np.inf
    # Any epsilon is allowed, and held to 40.
    check(analytic_gaussian_radius(e0, 0.0, 1.0), exact_analytic_gaussian(e0, 0, largest=40), 1e-9)


@pytest.mark.parametrize(("e0", "e1"), [(1.0, 0.5), (0.8, 0.799), (0.95, 0.9), (0.5001, 0.4999)])
def test_analytic_gaussian_closed_form_at_epsilon_zero(e0, e1):
    # t = 2 Phi^-1(1/2 + (e0 - e1) / 4) is a lower bound everywhere, and the value where epsilon = 0 is best.
    closed = float(2 * quantile(mpf(1) / 2 + (mpf(e0) - mpf(e1)) / 4))
    radius = analytic_gaussian_radius(e0, e1, 1.0)
    assert radius >= closed * (1 - 1e-10)
    if e1 >= 0.5:
        assert radius == pytest.approx(closed, rel=1e-10)


def test_renyi_limit_and_no_rounding_noise_where_the_lead_is_small():
    assert renyi_radius(0.5, 0.499, 0.5) == pytest.approx(5.0025e-4, rel=1e-5)
    limit = np.sqrt(-2.0 * np.log(1.0 - (np.sqrt(0.7) - np.sqrt(0.1)) ** 2))
    assert renyi_radius(0.7, 0.1, 1.0) >= limit * (1 - 1e-12)
    # Down to the spacing of floating-point numbers.
    for lead in 2.0 ** -np.arange(20.0, 53.0):
        assert renyi_radius(0.5 + lead, 0.5, 1.0) <= np.sqrt(2 * np.pi) / 2 * lead
        assert renyi_radius(0.5 + lead, 0.5, 1.0) == pytest.approx(lead, rel=1e-5)
        assert analytic_gaussian_radius(0.5 + lead, 0.5, 1.0) == pytest.approx(np.sqrt(2 * np.pi) / 2 * lead, rel=1e-5)


@pytest.mark.parametrize(
    ("radius", "largest", "error"),
    [(lecuyer_radius, 0.690, 2e-3), (renyi_radius, 0.911, 5e-4), (analytic_gaussian_radius, 0.999995, 2e-6)],
)
def test_largest_ratio_to_neyman_pearson_on_the_simplex(radius, largest, error):
    even = np.arange(1, 200) / 200.0
    values = np.concatenate([even, np.geomspace(1e-8, 1e-2, 60), 1.0 - np.geomspace(1e-4, 1e-2, 20)])
    e0, e1 = (v.ravel() for v in np.meshgrid(values, values))
    keep = (e0 > 1.001 * e1) & (e0 >= 0.01) & (e0 + e1 <= 1.0)
    ratio = radius(e0[keep], e1[keep], 1.0) / neyman_pearson_radius(e0[keep], e1[keep], 1.0)
    assert ratio.max() == pytest.approx(largest, abs=error)
    assert ratio.max() < 1.0


def test_gain_over_the_one_sided_radius_is_the_rival_that_it_leaves_out():
    one_sided = neyman_pearson_radius(0.524, 1.0 - 0.524, 1.0)
    assert analytic_gaussian_radius(0.524, 1e-9, 1.0) / one_sided == pytest.approx(33.0, abs=0.5)


probabilities = st.one_of(
    st.floats(0.0, 1.0), st.floats(-300.0, 0.0).map(lambda x: 10.0**x), st.floats(-15.0, 0.0).map(lambda x: 1 - 10.0**x)
)


@pytest.mark.parametrize("radius", RADII)
@given(pair=st.tuples(probabilities, probabilities), sigma=st.floats(0.01, 10.0))
@settings(max_examples=80)
def test_neyman_pearson_dominates(radius, pair, sigma):
    e0, e1 = max(pair), min(pair)
    value = radius(e0, e1, sigma)
    assert value >= 0.0
    assert radius(e1, e0, sigma) == 0.0
    if 0.0 < e1 and e0 < 1.0:
        assert value <= neyman_pearson_radius(e0, e1, sigma)
    assert value == pytest.approx(sigma * radius(e0, e1, 1.0), rel=1e-12)


@pytest.mark.parametrize("radius", RADII)
@given(values=st.lists(probabilities.filter(lambda p: p > 1e-300), min_size=3, max_size=3, unique=True))
@settings(max_examples=60)
def test_monotone(radius, values):
    low, middle, high = sorted(values)
    lead = radius(high, low, 1.0)
    # Below leads of 1e-7 the error of the limit by neyman_pearson_radius shows.
    slack = 1e-9 * lead + 1e-13
    assert radius(middle, low, 1.0) <= lead + slack
    assert radius(high, middle, 1.0) <= lead + slack


@pytest.mark.parametrize("radius", RADII)
def test_broadcasts(radius):
    e0, e1 = np.array([[0.9], [0.6], [0.3]]), np.array([0.05, 0.35])
    result = radius(e0, e1, np.array([0.25, 0.5]))
    assert result.shape == (3, 2) and result.dtype == np.float64
    assert result[2, 1] == 0.0
    assert result[1, 1] == radius(0.6, 0.35, 0.5)
    assert radius(np.zeros((0, 4)), 0.0, 1.0).shape == (0, 4)
    assert np.ndim(radius(0.9, 0.1, 1.0)) == 0


@pytest.mark.parametrize("radius", RADII)
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1.1, 0.0, 1.0), r"e0 must lie in \[0, 1\], got 1.1"),
        (([0.5, 0.6], [0.1, -1e-9], 1.0), r"e1 must lie in \[0, 1\], got -1e-09"),
        ((0.5, float("nan"), 1.0), "e1 must lie"),
        ((0.6, 0.1, 0.0), "sigma must be positive and finite, got 0.0"),
        ((0.6, 0.1, np.inf), "sigma must be positive and finite, got inf"),
        ((0.6, 0.1, float("nan")), "sigma must be positive"),
    ],
)
def test_bad_input(radius, arguments, message):
    with pytest.raises(ValueError, match=message):
        radius(*arguments)
