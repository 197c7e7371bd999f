"""The dual solver where the worst region is known: half-spaces, slabs, and what a failure leaves."""

import numpy as np
import pytest
from scipy.stats import norm

from lightning_rs.radii import first_order_dual, first_order_l2_radius
from lightning_rs.radii.first_order import first_order_radius
from lightning_rs.radii.first_order_dual import (
    density,
    dual_probability,
    dual_radius,
    largest_moment,
    slab,
    slab_probability,
    slab_radius,
)

Q = np.array([0.51, 0.7, 0.9, 0.99, 0.99999])
REST = 1.0 - Q


def test_largest_moment_is_that_of_half_spaces():
    assert largest_moment(REST) == pytest.approx(norm.pdf(norm.ppf(Q)), rel=1e-10)
    # E[x; x > t] = phi(t), by quadrature.
    x = np.linspace(norm.isf(0.7), 12.0, 200_001)
    assert np.trapezoid(x * density(x), x) == pytest.approx(largest_moment(np.array([0.3]))[0], rel=1e-8)


@pytest.mark.parametrize("share", [0.0, 0.2, 0.9])
def test_slab_has_the_probability_and_the_moment(share):
    low, high = slab(REST, share * largest_moment(REST))
    assert norm.cdf(high) - norm.cdf(low) == pytest.approx(Q, rel=1e-9)
    assert density(high) - density(low) == pytest.approx(share * largest_moment(REST), rel=1e-6, abs=1e-12)
    if share == 0.0:
        assert low == pytest.approx(-high, rel=1e-9)


def test_slab_radius_is_where_one_half_is_left():
    low, high = slab(REST, 0.5 * largest_moment(REST))
    r = slab_radius(low, high, np.zeros(5))
    assert slab_probability(low, high, r) == pytest.approx(0.5, abs=1e-12)
    assert np.all(slab_probability(low, high, r) >= 0.5)
    assert slab_probability(low, high, r) == pytest.approx(norm.cdf(high, r) - norm.cdf(low, r), rel=1e-12)


@pytest.mark.parametrize("angle", [0.1, 0.4, 0.7, 1.2, 2.0])
def test_never_above_a_half_space_with_these_moments(angle):
    """{u.a <= Phi^-1(q)} has |b| = rho and shifts by r (v.a); nearly along v no other region is worse."""
    q = np.array([0.7, 0.8, 0.9, 0.97])
    rho, cos, sin = largest_moment(1 - q), np.cos(angle), np.sin(angle)
    for r in (0.3, 1.0, 1.7):
        reached = norm.cdf(norm.ppf(q) - r * cos)
        got = dual_probability(1 - q, -rho * cos, rho * sin, np.full(4, r))
        assert np.all(got <= reached) and np.all(got >= norm.cdf(norm.ppf(q) - r) * (1 - 1e-9))
        if angle == 0.1:
            assert got == pytest.approx(reached, abs=1e-4)
    if cos > 0:
        radius, failed = dual_radius(1 - q, -rho * cos, rho * sin, norm.ppf(q) * (1 - 1e-12))
        assert not failed.any() and np.all(radius <= norm.ppf(q) / cos)


def test_without_a_second_moment_the_slab_is_the_worst():
    q = np.array([0.6, 0.8, 0.95])
    m1 = -0.4 * largest_moment(1 - q)
    low, high = slab(1 - q, -m1)
    for r in (0.2, 0.9, 2.0):
        got = dual_probability(1 - q, m1, np.zeros(3), np.full(3, r))
        assert got == pytest.approx(slab_probability(low, high, np.full(3, r)), abs=1e-12)
    radius, failed = dual_radius(1 - q, m1, np.zeros(3), np.zeros(3))
    assert not failed.any() and np.array_equal(radius, slab_radius(low, high, np.zeros(3)))


def test_radius_is_where_the_probability_falls_to_one_half():
    q = np.array([0.6, 0.8, 0.95])
    rho = largest_moment(1 - q)
    radius, failed = dual_radius(1 - q, -0.3 * rho, 0.6 * rho, np.zeros(3))
    assert not failed.any()
    assert np.all(dual_probability(1 - q, -0.3 * rho, 0.6 * rho, radius * (1 - 1e-6)) >= 0.5)
    assert np.all(dual_probability(1 - q, -0.3 * rho, 0.6 * rho, radius * (1 + 1e-6)) < 0.5)
    assert np.all(radius > dual_radius(1 - q, -0.3 * rho, np.zeros(3), np.zeros(3))[0])


def test_failures_of_the_solver_are_told_and_fall_back(monkeypatch):
    radius, failed = first_order_radius([0.8, 0.9], 0.05, 0.15, 1.0)
    assert not failed.any()
    # Fewer nodes than the quadrature needs: what is left must be the radius that m1 alone gives.
    monkeypatch.setattr(first_order_dual, "_NODES", 7)
    fallen, failed = first_order_radius([0.8, 0.9], 0.05, 0.15, 1.0)
    assert failed.all() and np.all(fallen < radius)
    assert np.allclose(fallen, first_order_l2_radius([0.8, 0.9], 0.05, 1.0))
