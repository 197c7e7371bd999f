import pytest
from hypothesis import given, settings
from score_cases import CASES, check_no_more_than_salman, check_score_coverage
from vote_cases import ALPHAS, PROBABILITIES, VOTES, check_coverage, check_formula, of_first

from lightning_rs.mechanisms import get_mechanism
from lightning_rs.radii import analytic_gaussian_radius


def test_radius_is_its_formula_on_the_pair_of_votes():
    check_formula("cullen", analytic_gaussian_radius)


@settings(max_examples=60)
@given(VOTES, ALPHAS)
def test_never_above_two_sided(counts, alpha):
    assert of_first("cohen_two_sided", counts, alpha) * (1 + 1e-9) >= of_first("cullen", counts, alpha)


@pytest.mark.parametrize("p", PROBABILITIES)
def test_coverage_by_enumeration(p):
    check_coverage("cullen", p)


def test_soft_is_never_above_salman():
    check_no_more_than_salman("cullen_soft")


@pytest.mark.parametrize("case", CASES)
def test_soft_coverage_by_simulation(case):
    check_score_coverage("cullen_soft", case)


def test_bad_input():
    with pytest.raises(ValueError, match=r"top_share must lie in \(0, 1\), got 0"):
        get_mechanism("cullen", top_share=0)
    with pytest.raises(ValueError, match="unknown bound 'clopper'; known: betting, empirical_bernstein, hoeffding, "):
        get_mechanism("cullen_soft", bound="clopper")
