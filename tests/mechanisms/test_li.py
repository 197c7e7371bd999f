import pytest
from hypothesis import given, settings
from vote_cases import ALPHAS, PROBABILITIES, VOTES, check_coverage, check_formula, of_first

from lightning_rs.mechanisms import get_mechanism
from lightning_rs.radii import renyi_radius


def test_radius_is_its_formula_on_the_pair_of_votes():
    check_formula("li", renyi_radius)


@settings(max_examples=60)
@given(VOTES, ALPHAS)
def test_never_above_two_sided(counts, alpha):
    assert of_first("cohen_two_sided", counts, alpha) * (1 + 1e-9) >= of_first("li", counts, alpha)


@pytest.mark.parametrize("p", PROBABILITIES)
def test_coverage_by_enumeration(p):
    check_coverage("li", p)


def test_bad_input():
    with pytest.raises(ValueError, match=r"top_share must lie in \(0, 1\), got -0.5"):
        get_mechanism("li", top_share=-0.5)
