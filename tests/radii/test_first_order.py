"""First-order bounds against the primal problem, solved from its own equations, and against closed forms."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mpmath import mp, mpf
from scipy import optimize
from scipy.sparse import csr_array
from scipy.stats import norm

from lightning_rs.mechanisms import (
    first_order_directional_probability,
    first_order_l1_radius,
    first_order_l2_radius,
    first_order_linf_radius,
    first_order_subspace_l2_radius,
)
from lightning_rs.radii.first_order import first_order_radius

NODES, WEIGHTS = np.polynomial.legendre.leggauss(1500)


def rho(q):
    return norm.pdf(norm.ppf(q))


def worst_region(q, m1, m2, r):
    """p of the region {y >= -c(x)}, c(x) = c0 + c1 x - exp(c2 + r x), that has exactly the moments given; where that
    needs c1 < 0, of the one with c1 = 0 that has q and m2. Gauss-Legendre quadrature and a root finder."""
    low, high = -10.0, max(10.0, r + 10.0)
    x = 0.5 * (high - low) * NODES + 0.5 * (high + low)
    w = 0.5 * (high - low) * WEIGHTS * norm.pdf(x)

    def c(p):
        return p[0] + p[1] * x - np.exp(np.clip(p[2] + r * x, -700.0, 300.0))

    def residuals(p):
        return [w @ norm.sf(c(p)) - (1 - q), w @ (x * norm.cdf(c(p))) - m1, w @ norm.pdf(c(p)) - m2]

    def solve(function, start):
        for _ in range(300):
            found = optimize.root(function, start(), tol=1e-13)
            if np.max(np.abs(found.fun)) < 1e-12:
                return found.x
        raise ArithmeticError((q, m1, m2, r))

    rng = np.random.default_rng(0)
    p = solve(residuals, lambda: [rng.normal(1, 2), rng.uniform(0, 4), rng.uniform(-4, 2) - r * r / 2])
    if p[1] < 0:
        c0, c2 = solve(
            lambda s: np.array(residuals([s[0], 0.0, s[1]]))[[0, 2]],
            lambda: [rng.normal(1, 2), rng.uniform(-4, 2) - r * r / 2],
        )
        p = [c0, 0.0, c2]
    return 0.5 * (high - low) * WEIGHTS @ (norm.pdf(x - r) * norm.cdf(c(p)))


def slab_in_forty_digits(q, g):
    """The l2 radius in units of sigma, with mpmath: edges from their two equations, then r."""
    mp.dps = 40
    q, g = mpf(q), mpf(g)
    high, low = _edges(q, g)
    return mp.findroot(lambda r: mp.ncdf(high - r) - mp.ncdf(low - r) - mpf(1) / 2, (mpf(norm.ppf(float(q))), high))


def _quantile(p):
    return -mp.sqrt(2) * mp.erfinv(1 - 2 * p)


def _edges(q, g):
    def moment(t):
        return mp.npdf(_quantile(1 - q - t)) - mp.npdf(_quantile(t)) - g

    t = mp.findroot(moment, ((1 - q) * mpf(10) ** -12, (1 - q) / 2), solver="anderson", tol=1e-50)
    return -_quantile(1 - q - t), _quantile(t)


def points(count, seed):
    """(q, m1, m2, r): from easy to confident classes, small to nearly the largest moments, m1 of both signs."""
    rng = np.random.default_rng(seed)
    for k in range(count):
        q = rng.uniform(0.51, 0.97) if k % 2 else 1 - 10 ** rng.uniform(-4, -1.5)
        size, angle = rng.uniform(0.15, 0.985), rng.uniform(0.08, 0.75 * np.pi)
        yield q, -size * np.cos(angle) * rho(q), size * np.sin(angle) * rho(q), rng.uniform(0.2, 2.6)


def test_directional_probability_is_that_of_the_worst_region():
    cases = list(points(24, 1))
    got = first_order_directional_probability(*np.array(cases).T)
    for case, value in zip(cases, got, strict=True):
        exact = worst_region(*case)
        assert value <= exact + 1e-9, case
        assert value == pytest.approx(exact, rel=1e-6), case


@pytest.mark.parametrize(
    ("q", "m1", "m2", "r"),
    [(0.75, -0.4, 0.7, 1.2), (0.9, -0.6, 0.75, 1.5), (0.8, -0.2, 0.3, 0.9), (0.1689, 0.9346, 0.3105, 1.8758)],
)
def test_directional_probability_is_the_linear_programs(q, m1, m2, r):
    """The least over all F in [0, 1] that are constant on cells of the plane, the moments as inequalities: somewhat
    above that over all F. The last case is below one half, where E[F] >= q does not bind."""
    m1, m2 = m1 * rho(q), m2 * rho(q)
    edges = np.linspace(-6, 6, 141)
    mass = np.diff(norm.cdf(edges))
    mean, shifted = -np.diff(norm.pdf(edges)) / mass, np.diff(norm.cdf(edges - r)) / mass
    cells = np.outer(mass, mass)
    rows = np.stack([cells, cells * mean[:, None], cells * mean[None, :]]).reshape(3, -1)
    cost = (cells * shifted[:, None]).ravel()
    found = optimize.linprog(cost, A_ub=csr_array(-rows), b_ub=[-q, -m1, -m2], bounds=(0, 1), method="highs")
    got = first_order_directional_probability(q, m1, m2, r)
    assert found.fun - 6e-4 <= got <= found.fun + 1e-9


def test_spot_values():
    r = rho(0.75)
    assert first_order_directional_probability(0.75, -0.15 * r, 0.97 * r, 1.6) == pytest.approx(0.527140, abs=5e-7)
    r = rho(0.85)
    assert first_order_l2_radius(0.85, 0.5 * r, 1.0) == pytest.approx(1.197499, abs=5e-7)
    assert first_order_l1_radius(0.85, 0.05 * r, 0.6 * r, 1.0) == pytest.approx(1.539605, abs=5e-7)


def test_an_equation_for_m1_would_not_be_monotone():
    """With m1 held exactly, less descent can mean less probability; as an inequality it cannot, at the same values."""
    q, r = 0.99, 2.4
    low, high = first_order_directional_probability(q, np.array([-0.95, -0.90]) * rho(q), 0.25 * rho(q), r)
    assert 0.494 < low <= high < 0.49428  # The value with m1 held at -.90 rho; .494535 at -.95 rho.


def test_l2_radius_against_forty_digits():
    rng = np.random.default_rng(2)
    for k in range(30):
        q = rng.uniform(0.51, 0.99) if k % 3 else 1 - 10 ** rng.uniform(-9, -2)
        g = rng.uniform(0.02, 0.98) * rho(q)
        exact = float(slab_in_forty_digits(q, g))
        got = first_order_l2_radius(q, g, 0.5) / 0.5
        assert got <= exact * (1 + 1e-9) and got == pytest.approx(exact, rel=1e-6), (q, g)


@pytest.mark.parametrize("threat", ["l1", "linf", "subspace"])
def test_radii_end_where_the_worst_region_has_one_half(threat):
    rng = np.random.default_rng(["l1", "linf", "subspace"].index(threat))
    sigma, d = 0.5, 49
    for k in range(12):
        q = rng.uniform(0.55, 0.97) if k % 3 else 1 - 10 ** rng.uniform(-3, -1.5)
        size, share = rng.uniform(0.3, 0.97) * rho(q), rng.uniform(0.1, 0.9)
        inside, outside = size * share, size * np.sqrt(1 - share**2)
        if threat == "l1":
            radius = first_order_l1_radius(q, inside, size, sigma)
        elif threat == "linf":
            radius = first_order_linf_radius(q, inside * np.sqrt(d), size, d, sigma) * np.sqrt(d)
        else:
            radius = first_order_subspace_l2_radius(q, inside, outside, sigma)
        r = radius / sigma
        assert worst_region(q, -inside, outside, r - 1e-9) >= 0.5
        assert worst_region(q, -inside, outside, r * (1 + 1e-6)) < 0.5


def test_half_spaces_gain_nothing_and_centred_slabs_most():
    q = np.array([0.51, 0.7, 0.9, 0.99, 0.99999])
    expected = norm.ppf(q)
    assert np.allclose(first_order_l2_radius(q, rho(q), 1.0), expected, rtol=1e-9, atol=0)
    assert np.all(first_order_l2_radius(q, rho(q), 1.0) <= expected)
    # A slab |x| <= w has no gradient, and one half at the root of its probability.
    w = norm.ppf((1 + q) / 2)
    r = [optimize.brentq(lambda r, e=e: norm.cdf(e - r) - norm.cdf(-e - r) - 0.5, 0, e + 1) for e in w]
    assert np.allclose(first_order_l2_radius(q, 0.0, 1.0), r, rtol=1e-9)
    # Half-spaces under any direction: exactly the same shift.
    assert first_order_directional_probability(0.8, rho(0.8), 0.0, 1.3) == pytest.approx(norm.cdf(norm.ppf(0.8) + 1.3))
    assert first_order_directional_probability(0.8, -rho(0.8), 0.0, 1.3) == pytest.approx(norm.cdf(norm.ppf(0.8) - 1.3))


def test_extremes_stay_finite_and_sound():
    q = np.array([0.0, 0.3, 0.5, 0.5 + 1e-7, 0.6, 1 - 1e-9, 1 - 1e-15, 1.0])
    zeroth = np.maximum(norm.ppf(q), 0.0)
    for b_inf, b_2 in [(0.0, 0.0), (0.0, 5.0), (1e-3, 0.2), (np.inf, 0.0), (0.3, np.inf)]:
        r = first_order_l1_radius(q, b_inf, b_2, 1.0)
        assert not np.isnan(r).any()
        assert np.all(r >= zeroth * (1 - 1e-13)) and np.all(r[:3] == 0.0) and np.all(np.isfinite(r[:-1]))
    p = first_order_directional_probability(np.array([0.0, 0.2, 0.4, 1.0])[:, None], [-1.0, 0.0, 0.3, 9.0], 0.1, 0.7)
    assert np.all(p[0] == 0.0) and np.all(p[-1] == 1.0) and np.all((p >= 0) & (p <= 1))
    assert first_order_directional_probability(0.4, -0.2, 0.1, 0.0) == 0.4


shares = st.floats(0.0, 1.0)


@settings(max_examples=30)
@given(st.floats(0.501, 0.99999), shares, shares, st.floats(0.0, 0.4), shares, shares)
def test_never_below_zeroth_order_and_monotone(q, m1, m2, up, less, more):
    m1, m2 = m1 * rho(q), m2 * rho(q)
    r = first_order_radius(q, m1, m2, 1.0)[0]
    assert r >= norm.ppf(q) * (1 - 1e-12)
    slack = r * 1e-6 + 1e-9
    raised = q + up * (1 - q)
    # Beyond the moments that a class of the raised probability can have there is nothing to compare.
    if m1**2 + m2**2 <= (0.999 * rho(raised)) ** 2:
        assert first_order_radius(raised, m1, m2, 1.0)[0] >= r - slack
    assert first_order_radius(q, m1 * less, m2, 1.0)[0] >= r - slack
    assert first_order_radius(q, m1, m2 + more * (rho(q) - m2), 1.0)[0] >= r - slack
    assert first_order_radius(q, rho(q), 0.0, 1.0)[0] == pytest.approx(norm.ppf(q), rel=1e-9)
    assert first_order_radius(q, 9.0, m2, 1.0)[0] <= r + slack


@settings(max_examples=40)
@given(st.floats(0.501, 0.9999), st.floats(-1, 1), shares, st.floats(0.05, 3.0), st.floats(0.0, 0.4), shares, shares)
def test_directional_probability_is_monotone(q, m1, m2, r, up, more, higher):
    p = first_order_directional_probability(q, m1 * rho(q), m2 * rho(q), r)
    assert norm.cdf(norm.ppf(q) - r) * (1 - 1e-9) <= p <= 1
    raised = q + up * (1 - q)
    feasible = min(1.0, rho(raised) / rho(q)) ** 2 >= m1**2 + m2**2
    if feasible:
        assert first_order_directional_probability(raised, m1 * rho(q), m2 * rho(q), r) >= p - 1e-8
    room = np.sqrt(max(0.0, 1 - m1**2))
    assert first_order_directional_probability(q, m1 * rho(q), (m2 + higher * max(0.0, room - m2)) * rho(q), r) >= (
        p - 1e-7
    )
    across = np.sqrt(max(0.0, 1 - m2**2))
    assert first_order_directional_probability(q, (m1 + more * max(0.0, across - m1)) * rho(q), m2 * rho(q), r) >= (
        p - 1e-7
    )


def test_arrays_broadcast():
    q = np.array([[0.6], [0.9]])
    b = np.array([0.05, 0.1, 0.3])
    table = first_order_subspace_l2_radius(q, b, 0.1, 0.25)
    assert table.shape == (2, 3) and table.dtype == np.float64
    assert table[1, 1] == pytest.approx(first_order_subspace_l2_radius(0.9, 0.1, 0.1, 0.25), rel=1e-8)
    assert np.ndim(first_order_l2_radius(0.9, 0.1, 1.0)) == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: first_order_l2_radius(1.2, 0.1, 1.0), r"q must lie in \[0, 1\], got 1.2"),
        (lambda: first_order_l2_radius(0.9, -0.1, 1.0), "b2_upper must be >= 0, got -0.1"),
        (lambda: first_order_l2_radius(0.9, np.nan, 1.0), "b2_upper must be >= 0, got nan"),
        (lambda: first_order_l2_radius(0.9, 0.1, 0.0), "sigma must be positive and finite, got 0.0"),
        (lambda: first_order_l1_radius(0.9, 0.1, -1.0, 1.0), "b2_lower must be >= 0"),
        (lambda: first_order_linf_radius(0.9, 0.1, 0.1, 0, 1.0), "dimension must be >= 1, got 0"),
        (lambda: first_order_subspace_l2_radius(0.9, 0.1, np.nan, 1.0), "bperp2_lower must be >= 0, got nan"),
        (lambda: first_order_directional_probability(0.9, 0.1, -0.1, 1.0), "m2 must be >= 0, got -0.1"),
        (lambda: first_order_directional_probability(0.9, np.nan, 0.1, 1.0), "m1 must"),
        (lambda: first_order_directional_probability(0.9, 0.1, 0.1, -1.0), "r must be >= 0, got -1.0"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
