import numpy as np
import pytest
from score_cases import CASES, check_no_more_than_salman, check_score_coverage, four_examples

from lightning_rs.mechanisms import get_mechanism
from lightning_rs.radii import lipschitz_radius


@pytest.mark.parametrize("base_lipschitz", [None, 0.2])
def test_radius_is_the_formula_of_the_certified_margin(base_lipschitz):
    certificate = get_mechanism("lipschitz", base_lipschitz=base_lipschitz).certify(four_examples(), 0.001)
    margin = np.maximum(certificate.p_lower - certificate.p_upper, 0.0)
    assert np.array_equal(certificate.radius, lipschitz_radius(margin, 0.5, base_lipschitz))
    assert np.all(margin[:3] > 0)


def test_never_above_salman_without_a_constant_of_the_base():
    check_no_more_than_salman("lipschitz")


def test_a_known_constant_of_the_base_only_helps():
    known, unknown = (
        get_mechanism("lipschitz", base_lipschitz=b).certify(four_examples(), 0.001).radius for b in (0.2, None)
    )
    assert np.all(known >= unknown)


@pytest.mark.parametrize("case", CASES)
def test_coverage_by_simulation(case):
    check_score_coverage("lipschitz", case)


def test_bad_input():
    with pytest.raises(ValueError, match="base_lipschitz must be positive, got 0"):
        get_mechanism("lipschitz", base_lipschitz=0)
