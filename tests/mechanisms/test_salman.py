import numpy as np
import pytest
from scipy.special import ndtri
from scipy.stats import beta
from score_cases import CASES, check_score_coverage, four_examples, shuffled_quantiles, two_classes

from lightning_rs.mechanisms import get_mechanism

# R / sigma at alpha = .001 and n = 1e5, all of alpha on the one class; Bernoulli and constant samples are exact.
TABLE = {
    "constant": (np.full(100_000, 0.999), {"hoeffding": 2.464, "hoeffding_kl": 2.985, "betting": 3.070}),
    "ones": (np.ones(100_000), {"hoeffding": 2.519, "hoeffding_kl": 3.812, "betting": 3.807}),
    "beta(50,1)": (shuffled_quantiles(beta(50, 1)), {"hoeffding": 1.952, "hoeffding_kl": 2.029, "betting": 2.058}),
    "beta(6,4)": (shuffled_quantiles(beta(6, 4)), {"hoeffding": 0.2381, "hoeffding_kl": 0.2384, "betting": 0.2490}),
}


@pytest.mark.parametrize("case", TABLE)
def test_reaches_the_known_radii(case):
    """With top_share near one and a single rival the bound on the rival is 1 - e0: the one-sided radius."""
    scores, expected = TABLE[case]
    statistics = two_classes(scores)
    for bound, value in expected.items():
        certificate = get_mechanism("salman", bound=bound, top_share=1 - 1e-9).certify(statistics, 0.001)
        assert certificate.radius[0] == pytest.approx(value, abs=2e-3), bound


def test_certifies_where_a_class_leads():
    radius = get_mechanism("salman").certify(four_examples(), 0.001).radius
    assert np.all(radius[:3] > 0) and radius[3] == 0.0


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("bound", ["hoeffding", "hoeffding_kl", "empirical_bernstein", "betting"])
def test_coverage_by_simulation(case, bound):
    check_score_coverage("salman", case, bound=bound)


def test_elementwise_taylor_quantiles_are_unsound():
    """E[2 c_M (X - 1/2)] with X Bernoulli(.6) claims more than the true radius: not shipped."""
    p = 0.6
    truth = ndtri(p)
    coefficients = {1: [1.0], 3: [1.0, np.pi / 12], 5: [1.0, np.pi / 12, 7 * np.pi**2 / 480]}
    for order, claimed in ((3, 0.3163), (5, 0.3524)):
        c = np.sqrt(2 * np.pi) / 2 * sum(coefficients[order])
        assert c * (2 * p - 1) == pytest.approx(claimed, abs=5e-4)
        assert claimed > truth
    assert np.sqrt(2 * np.pi) / 2 * (2 * p - 1) < truth


def test_bad_input():
    known = "betting, empirical_bernstein, hoeffding, hoeffding_kl"
    with pytest.raises(ValueError, match=f"unknown bound 'clt'; known: {known}"):
        get_mechanism("salman", bound="clt")
    with pytest.raises(ValueError, match=r"top_share must lie in \(0, 1\), got 0"):
        get_mechanism("salman", top_share=0)
