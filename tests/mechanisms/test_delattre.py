import numpy as np
import pytest
from hypothesis import given, settings
from scipy.stats import beta, norm
from vote_cases import ALPHAS, PROBABILITIES, VOTES, check_coverage, of_first, radius

from lightning_rs import Statistics
from lightning_rs.mechanisms import get_mechanism


def test_buckets_by_hand():
    # Selection 50, 30, 12, 5, 3: remaining 20 <= 30, so buckets {0}, {1}, {2, 3, 4}: m = 3.
    counts = [5000, 2000, 1500, 900, 600]
    alpha, n = 0.003, 10_000
    lower = beta.ppf(alpha / 3, 5000, n - 5000 + 1)
    upper = beta.isf(alpha / 3, 3000 + 1, n - 3000)
    expected = (norm.ppf(lower) - norm.ppf(upper)) / 2
    assert radius("delattre", counts, alpha, [50, 30, 12, 5, 3])[0] == pytest.approx(expected, rel=1e-9)
    # Sorted 40, 19, 14, 14, 13, remaining 41 > 19, 27 > 19, 13 <= 19: four singles and a rest, m = 5.
    upper = beta.isf(alpha / 5, 2000 + 1, n - 2000)
    lower = beta.ppf(alpha / 5, 5000, n - 5000 + 1)
    expected = (norm.ppf(lower) - norm.ppf(upper)) / 2
    assert radius("delattre", counts, alpha, [40, 14, 14, 13, 19])[0] == pytest.approx(expected, rel=1e-9)


def test_can_abstain_where_two_sided_certifies():
    """A thousand classes, a top class of .1 and few selection draws leave a heavy last bucket."""
    counts = np.full(1000, 90)
    counts[0] = 10_090
    selection = np.zeros(1000, dtype=int)
    selection[[0, 0, 5, 9, 12]] = [2, 2, 1, 1, 1]
    assert radius("delattre", counts, selection=selection)[0] == 0.0
    assert radius("cohen_two_sided", counts, selection=selection)[0] > 0.7


@settings(max_examples=60)
@given(VOTES, ALPHAS)
def test_never_above_two_sided_at_equal_shares(counts, alpha):
    """One pair at alpha / m each can only be smaller than Lemma R's pair at alpha / 2 each."""
    assert of_first("delattre", counts, alpha) <= of_first("cohen_two_sided", counts, alpha, top_share=0.5) * (
        1 + 1e-12
    )


@pytest.mark.parametrize("p", PROBABILITIES)
def test_coverage_by_enumeration(p):
    check_coverage("delattre", p)


def test_bad_input():
    alone = Statistics.from_counts([[90, 10]], 1.0)
    with pytest.raises(ValueError, match="delattre needs selection_counts, which these statistics do not hold"):
        get_mechanism("delattre").certify(alone, 0.001)
