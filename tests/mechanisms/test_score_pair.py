import numpy as np
import pytest
from score_cases import CASES, MEANS, four_examples, statistics_of

from lightning_rs.bounds import hoeffding_kl_lower, hoeffding_kl_upper
from lightning_rs.mechanisms import get_mechanism
from lightning_rs.mechanisms.score_pair import BOUNDS, score_pair


def test_shares_of_alpha_go_to_the_class_and_to_the_largest_rival():
    statistics = four_examples()
    pair = score_pair(statistics, 0.01, "hoeffding_kl", 0.7)
    mean = statistics.score_sum / 4000
    assert pair.lower == pytest.approx(hoeffding_kl_lower(mean[:, 0], 4000, 0.007), rel=1e-9)
    expected = np.minimum(hoeffding_kl_upper(mean[:, 1:].max(axis=1), 4000, 0.003), 1 - pair.lower)
    assert pair.upper == pytest.approx(expected, rel=1e-9)
    assert pair.rest == pytest.approx(1 - pair.lower, rel=1e-9)


@pytest.mark.parametrize("bound", BOUNDS)
@pytest.mark.parametrize("case", CASES)
def test_bounds_hold_together(case, bound):
    """Up to three standard errors above alpha = 20 % of the runs."""
    alpha, runs = 0.2, 200
    statistics = statistics_of(CASES[case](np.random.default_rng(5), (runs, 100)))
    pair = score_pair(statistics, alpha, bound, 0.5)
    wrong = (pair.lower > MEANS[case][0] + 1e-12) | (pair.upper < max(MEANS[case][1:]) - 1e-12)
    assert wrong.sum() <= alpha * runs + 3 * np.sqrt(alpha * (1 - alpha) * runs)
    assert np.all(pair.upper <= pair.rest)


def test_the_relative_entropy_is_never_looser():
    statistics = four_examples()
    kl, plain = (score_pair(statistics, 0.001, bound, 0.5) for bound in ("hoeffding_kl", "hoeffding"))
    assert np.all(kl.lower >= plain.lower) and np.all(kl.upper <= plain.upper)


@pytest.mark.parametrize("bound", BOUNDS)
def test_a_bound_reads_its_own_fields_alone(bound):
    mechanism = get_mechanism("salman", bound=bound)
    assert mechanism.requires == BOUNDS[bound] | {"counts", "selection_counts"}
    statistics = four_examples()
    held = {name: getattr(statistics, name) for name in mechanism.requires}
    assert np.array_equal(
        mechanism.certify(type(statistics)(0.5, **held), 0.001).radius, mechanism.certify(statistics, 0.001).radius
    )


def test_one_draw_has_no_variance():
    pair = score_pair(statistics_of([[[0.9, 0.1]]]), 0.001, "empirical_bernstein", 0.5)
    assert (pair.lower[0], pair.upper[0]) == (0.0, 1.0)
