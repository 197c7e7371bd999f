"""Bounds on norms of the gradient, by simulation of classifiers whose gradient is known."""

import numpy as np
import pytest
from scipy.special import ndtr
from scipy.stats import ncx2, norm

from lightning_rs.bounds.gradient_norms import GradientNorms, half_tail, least_dimension, miss_tail
from lightning_rs.statistics import gradient_moments

DELTA, TRIALS = 0.1, 250


def log_mgf(rate, threshold):
    """log E exp(rate (z - E z)), z = x (F - 1/2), for F = 1 on {x > threshold} and {-threshold < x < 0}."""
    pieces = [(-np.inf, -threshold, 0), (-threshold, 0.0, 1), (0.0, threshold, 0), (threshold, np.inf, 1)]
    mgf = mean = 0.0
    for low, high, f in pieces:
        tilt = rate * (f - 0.5)
        mgf = mgf + np.exp(tilt**2 / 2) * (ndtr(high - tilt) - ndtr(low - tilt))
        mean = mean + (f - 0.5) * (density(low) - density(high))
    return np.log(mgf) - rate * mean


def density(x):
    return np.exp(-(np.asarray(x) ** 2) / 2) / np.sqrt(2 * np.pi)


def worst_log_mgf(rates):
    """The worst F is 1 where sinh(y)/y, y = rate x / 2, is above a value for x > 0 and below it for x < 0."""
    return log_mgf(rates[:, None], np.linspace(0.0, 8.0, 400)).max(axis=1)


def test_constants_of_the_half_tail():
    rates = np.geomspace(0.01, 30, 300)
    factor = 2 * worst_log_mgf(rates) / rates**2
    assert factor.max() == pytest.approx(0.402181, abs=1e-4) and factor.max() <= 0.4022
    assert np.all(factor <= 0.25 + 0.0505 * rates)
    # Other readings of the published constant are below it.
    assert factor.max() > 0.25 + 1 / np.sqrt(8 * np.pi * np.e)


def test_tails_are_chernoff_bounds():
    rates = np.geomspace(1e-3, 10, 400)
    half = worst_log_mgf(rates)
    for m, level in [(10, 7.6), (500, 2.0), (100_000, 8.3)]:
        exact = np.min(level / (m * rates) + half / rates)
        assert exact * (1 - 1e-3) <= half_tail(m, level) <= 1.2 * exact
        for rest in (0.3, 1e-3, 1e-7):
            # An F that misses on both tails attains this; no valid bound is below it.
            a = norm.isf(rest / 2)
            tails = np.exp(rates**2 / 2) * (ndtr(rates - a) + ndtr(-rates - a)) - rest
            reached = np.min(level / (m * rates) + np.log1p(tails) / rates)
            assert reached * (1 - 1e-9) <= miss_tail(np.array([m]), level, np.array([rest]))[0] <= 1.8 * reached


def direction(d):
    a = np.random.default_rng(d).normal(size=d) ** 3
    return a / np.linalg.norm(a)


def simulate(kind, d, n, rng):
    """gradient_moments (TRIALS, 2, 1, 4), halves, b, and the probability of missing the class.

    Where F depends on x = a.u alone, the sums along a come from n draws of x, and across a they are exactly Gaussian.
    """
    halves = np.array([n - n // 2, n // 2])
    a = direction(d)
    if kind[0] == "ball":
        _, centre, size = kind
        inside = ncx2.cdf(size**2, d, centre**2)
        b = a * centre * (inside - ncx2.cdf(size**2, d + 2, centre**2))
        sums = np.empty((TRIALS, 2, 2, d))
        for trial in range(TRIALS):
            for h, m in enumerate(halves):
                u = rng.normal(size=(m, d))
                f = (((u - centre * a) ** 2).sum(1) <= size**2).astype(float)
                sums[trial, h] = (f - 0.5) @ u, (1 - f) @ u
        return gradient_moments(sums[..., None, :]), halves, b, 1 - inside
    _, low, high = kind
    p = norm.cdf(high) - norm.cdf(low)
    b = a * (norm.pdf(low) - norm.pdf(high))
    sums = np.empty((TRIALS, 2, 2, d))
    for h, m in enumerate(halves):
        x = rng.normal(size=(TRIALS, m))
        f = ((x >= low) & (x <= high)).astype(float)
        along = np.stack([(x * (f - 0.5)).sum(1), (x * (1 - f)).sum(1)], axis=1)
        spread = np.stack([np.full(TRIALS, m / 4), (1 - f).sum(1)], axis=1) ** 0.5
        across = rng.normal(size=(TRIALS, 2, d))
        across -= (across @ a)[..., None] * a
        sums[:, h] = along[..., None] * a + spread[..., None] * across
    return gradient_moments(sums[..., None, :]), halves, b, 1 - p


CLASSIFIERS = {
    "half-space .5": ("slab", -np.inf, 0.0),
    "half-space .9": ("slab", -np.inf, norm.ppf(0.9)),
    "half-space .99": ("slab", -np.inf, norm.ppf(0.99)),
    "slab": ("slab", -1.0, 1.5),
    "thin slab": ("slab", 0.0, 2.134),
}


def check(name, d, n, kind):
    moments, halves, b, rest = simulate(kind, d, n, np.random.default_rng([d, n]))
    halves, rest = np.tile(halves, (TRIALS, 1)), np.full(TRIALS, rest)
    for estimator in ("half", "miss", *(["paper"] if d >= least_dimension(DELTA) else [])):
        bounds = GradientNorms.of(moments, halves, d, estimator, rest)
        for bound, wrong in {
            "l2_upper": bounds.l2_upper(DELTA) < np.linalg.norm(b),
            "l2_lower": bounds.l2_lower(DELTA) > np.linalg.norm(b),
            "linf_upper": bounds.linf_upper(DELTA) < np.abs(b).max(),
            "l1_upper": bounds.l1_upper(DELTA) < np.abs(b).sum(),
        }.items():
            assert wrong.mean() <= DELTA, (name, d, n, estimator, bound)


@pytest.mark.parametrize("name", CLASSIFIERS)
@pytest.mark.parametrize(("d", "n"), [(10, 200), (10, 4000), (100, 1000), (3072, 2000)])
def test_coverage_for_half_spaces_and_slabs(name, d, n):
    check(name, d, n, CLASSIFIERS[name])


@pytest.mark.parametrize(
    ("d", "n", "centre", "size"), [(10, 400, 1.5, 4.0), (100, 200, 4.0, 11.5), (3072, 40, 6.0, 56.0)]
)
def test_coverage_for_balls(d, n, centre, size):
    check("ball", d, n, ("ball", centre, size))


def test_bounds_close_in_on_the_norms():
    """The widths that were seen for a half-space of .9 and .99 in 3,072 dimensions at n = 2e5, delta = .0005."""
    d, n = 3072, 200_000
    a = direction(d)
    rng = np.random.default_rng(0)
    for p, expected in [
        (0.9, {"half": (0.1689, 0.1825), "miss": (0.1669, 0.1848), "paper": (0.1647, 0.1869)}),
        (0.99, {"half": (0.0072, 0.0392), "miss": (0.0226, 0.0314), "paper": (0.0, 0.0532)}),
    ]:
        b = -norm.pdf(norm.ppf(p))
        sums = np.empty((40, 2, 2, d))
        m = n // 2
        for kind, (mean, variance) in enumerate([(m * b, m / 4), (-m * b, m * (1 - p))]):
            across = rng.normal(size=(40, 2, d)) * np.sqrt(variance)
            sums[:, :, kind] = mean * a + across
        halves, rest = np.full((40, 2), m), np.full(40, 1 - p)
        for estimator, (low, high) in expected.items():
            bounds = GradientNorms.of(gradient_moments(sums[..., None, :]), halves, d, estimator, rest)
            assert bounds.l2_lower(0.0005).mean() == pytest.approx(low, abs=1.5e-3)
            assert bounds.l2_upper(0.0005).mean() == pytest.approx(high, abs=1.5e-3)
            assert bounds.l2_upper(0.0005).min() >= abs(b) >= bounds.l2_lower(0.0005).max()


def test_nothing_is_known_from_one_half_or_of_no_coordinates():
    sums = np.ones((1, 2, 2, 5))
    bounds = GradientNorms.of(gradient_moments(sums), np.array([[1, 0]]), 5, "half", np.array([0.2]))
    assert bounds.l2_upper(0.1)[0] == np.inf and bounds.l2_lower(0.1)[0] == 0.0
    nothing = GradientNorms.of(np.zeros((1, 2, 0, 4)), np.array([[50, 50]]), 0, "half", np.array([0.2]))
    assert nothing.l2_upper(0.1)[0] == nothing.l2_lower(0.1)[0] == 0.0


def test_the_paper_estimator_refuses_few_dimensions():
    moments, halves = np.ones((1, 2, 1, 4)), np.array([[50, 50]])
    with pytest.raises(ValueError, match="the paper estimator needs at least 122 coordinates at this alpha, got 64"):
        GradientNorms.of(moments, halves, 64, "paper", np.array([0.1])).l2_upper(0.001)
