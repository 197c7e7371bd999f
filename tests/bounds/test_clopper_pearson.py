from math import comb

import numpy as np
import pytest
from mpmath import mpf
from reference import binomial_cdf
from reference import clopper_pearson_upper as exact_upper

from lightning_rs.bounds import clopper_pearson_lower, clopper_pearson_upper

CASES = [
    (failures, trials, alpha)
    for trials in (10, 100, 1000, 10**5, 10**6, 10**9)
    for failures in sorted({0, 1, 2, 7, min(300, trials // 3)})
    for alpha in (0.05, 0.001, 1e-6)
] + [(trials // 2 - 1, trials, alpha) for trials in (100, 10**5) for alpha in (0.05, 1e-6)]


@pytest.mark.parametrize(("failures", "trials", "alpha"), CASES)
def test_bounds_equal_the_definition_and_err_on_the_safe_side(failures, trials, alpha):
    upper = float(clopper_pearson_upper(failures, trials, alpha))
    exact = exact_upper(failures, trials, alpha, upper)
    assert exact <= upper
    assert float((upper - exact) / exact) < 1e-10

    lower = float(clopper_pearson_lower(trials - failures, trials, alpha))
    assert lower <= 1 - exact
    assert float((1 - exact - lower) / (1 - exact)) < 1e-10


def test_lower_bound_of_few_successes_keeps_its_digits():
    # P(Bin(n, p) >= x) = alpha, from the same sum over the other tail.
    for successes, trials, alpha in ((1, 10**6, 0.001), (3, 10**9, 0.05), (50, 10**5, 1e-6)):
        lower = float(clopper_pearson_lower(successes, trials, alpha))
        tail = 1 - binomial_cdf(successes - 1, trials, mpf(lower))
        assert tail <= alpha
        assert float(abs(tail - alpha) / alpha) < 1e-9


@pytest.mark.parametrize("alpha", [0.69, 0.88, 0.99])
@pytest.mark.parametrize(("successes", "trials"), [(2, 91_371), (3, 732_231), (2, 1_700_605), (4, 1_019_073)])
def test_lower_bound_stays_safe_at_large_alpha(successes, trials, alpha):
    lower = float(clopper_pearson_lower(successes, trials, alpha))
    tail = 1 - binomial_cdf(successes - 1, trials, mpf(lower))
    assert tail <= alpha
    assert float((alpha - tail) / alpha) < 1e-9


def test_edges():
    assert clopper_pearson_lower(0, 50, 0.001) == 0.0
    assert clopper_pearson_upper(50, 50, 0.001) == 1.0
    assert clopper_pearson_lower(50, 50, 0.001) == pytest.approx(0.001 ** (1 / 50), rel=1e-12)
    assert clopper_pearson_upper(0, 50, 0.001) == pytest.approx(1 - 0.001 ** (1 / 50), rel=1e-12)


def test_broadcasts_and_agrees_with_scalars():
    x = np.array([[0], [3], [10]])
    alpha = np.array([0.05, 0.001])
    bounds = clopper_pearson_lower(x, 10, alpha)
    assert bounds.shape == (3, 2)
    assert bounds.dtype == np.float64
    for i in range(3):
        for j in range(2):
            assert bounds[i, j] == clopper_pearson_lower(x[i, 0], 10, alpha[j])


@pytest.mark.parametrize("trials", [1, 2, 7, 30])
@pytest.mark.parametrize("alpha", [0.05, 0.01])
def test_coverage_by_enumeration(trials, alpha):
    successes = list(range(trials + 1))
    lower = clopper_pearson_lower(successes, trials, alpha)
    upper = clopper_pearson_upper(successes, trials, alpha)
    for p in np.linspace(0.005, 0.995, 199):
        binomial = np.array([comb(trials, x) * p**x * (1 - p) ** (trials - x) for x in successes])
        assert binomial[lower > p].sum() <= alpha
        assert binomial[upper < p].sum() <= alpha


@pytest.mark.parametrize("trials", [4, 30, 100])
@pytest.mark.parametrize("alpha", [0.25, 0.05, 0.001])
def test_coverage_where_each_draw_has_a_probability_of_its_own(trials, alpha):
    """The bounds hold for the average: what is certified of a classifier whose answer depends on the batch's places."""
    rng = np.random.default_rng(trials)
    successes = np.arange(trials + 1)
    lower, upper = (bound(successes, trials, alpha) for bound in (clopper_pearson_lower, clopper_pearson_upper))
    nearly = [np.where(successes[1:] <= sure, 1.0, p) for sure in range(0, trials, 3) for p in (0.0, 0.02, 0.3, 0.7)]
    for probabilities in [*nearly, *rng.random((30, trials)), *rng.beta(0.1, 0.1, (30, trials))]:
        average = probabilities.mean()
        if not 1 / trials < average < 1 - 1 / trials:
            continue
        chance = np.ones(1)
        for p in probabilities:
            chance = np.convolve(chance, [1 - p, p])
        assert chance[lower > average].sum() <= alpha
        assert chance[upper < average].sum() <= alpha


def test_no_coverage_for_unequal_draws_at_a_large_alpha():
    """Why alpha is at most 1/4 there: of four draws, two sure and two never, the average always lies below."""
    assert clopper_pearson_lower(2, 4, 0.7) > 0.5


@pytest.mark.parametrize(
    ("successes", "trials", "alpha", "message"),
    [
        (5, 4, 0.05, r"successes must be integers in \[0, trials\], got 5 of 4"),
        (-1, 4, 0.05, "successes"),
        (1.5, 4, 0.05, "successes"),
        (0, 0, 0.05, "trials must be integers >= 1, got 0"),
        (1, 4, 0.0, r"alpha must lie in \(0, 1\), got 0.0"),
        (1, 4, 1.0, "alpha"),
        (1, 4, float("nan"), "alpha"),
    ],
)
def test_bad_input(successes, trials, alpha, message):
    for bound in (clopper_pearson_lower, clopper_pearson_upper):
        with pytest.raises(ValueError, match=message):
            bound(successes, trials, alpha)
