import numpy as np
import pytest
from scipy.stats import norm
from score_cases import CASES, check_score_coverage
from vote_cases import COUNTS, radius

from lightning_rs.bounds import proportion_difference_lower
from lightning_rs.mechanisms import get_mechanism


@pytest.mark.parametrize(
    ("statistic", "formula"), [("phi", lambda d: d / 2), ("diff", lambda d: norm.ppf((1 + d) / 2))]
)
def test_radius_is_the_formula_of_the_bound_on_the_difference(statistic, formula):
    got = radius("moutaouakil", COUNTS, selection=[[1, 0, 0]] * len(COUNTS), sigma=0.5, statistic=statistic)
    for counts, value in zip(COUNTS, got, strict=True):
        bound = proportion_difference_lower(counts[0], max(counts[1:]), sum(counts), 0.001, statistic=statistic)
        assert value == pytest.approx(0.5 * formula(bound) if bound > 0 else 0.0, rel=1e-9)


def test_gains_and_published_version_is_unsound():
    n = 100_000
    counts = [40_000, *[10_000] * 6]
    assert radius("moutaouakil", counts)[0] == pytest.approx(0.50229, abs=1e-3)
    assert radius("moutaouakil", counts)[0] > radius("cohen_two_sided", counts)[0]
    # As published, sup P(statistic > observed) = alpha: unanimous votes exclude nothing, so the bound on the margin is
    # one and the radius infinite, with probability p ** n.
    for trials, p, failure in ((100, 0.999, 0.90), (1000, 0.9995, 0.61), (n, 0.99999, 0.37)):
        assert p**trials == pytest.approx(failure, abs=0.01)
        assert np.isfinite(radius("moutaouakil", [trials, 0], 0.05)[0])


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("bound", ["empirical_bernstein", "hoeffding_kl"])
def test_soft_coverage_by_simulation(case, bound):
    check_score_coverage("moutaouakil_soft", case, bound=bound)


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


def test_bad_input():
    with pytest.raises(ValueError, match="unknown statistic 'x'; known: diff, phi"):
        get_mechanism("moutaouakil", statistic="x")
    with pytest.raises(ValueError, match="unknown bound 'hoeffding'; known: empirical_bernstein, hoeffding_kl"):
        get_mechanism("moutaouakil_soft", bound="hoeffding")
