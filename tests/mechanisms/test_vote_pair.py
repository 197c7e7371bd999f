import numpy as np
import pytest
from vote_cases import COUNTS, exact_pair, make, multinomial

from lightning_rs.mechanisms.vote_pair import vote_pair


def test_bounds_are_those_of_scipy():
    pair = vote_pair(make(COUNTS, [[1, 0, 0]] * len(COUNTS)), 0.001, 0.9)
    for i, counts in enumerate(COUNTS):
        lower, upper = exact_pair(counts, 0.001)
        assert pair.lower[i] == pytest.approx(lower, rel=1e-9)
        assert pair.upper[i] == pytest.approx(upper, rel=1e-9)
        assert pair.rest[i] == pytest.approx(1 - lower, rel=1e-9)


def test_rest_keeps_its_digits_where_the_lower_bound_is_near_one():
    """1 - alpha^(1 / n) for unanimous votes: at n = 1e9 a difference of float64 would have 8 digits left."""
    n = 10**9
    pair = vote_pair(make([n, 0], [1, 0]), 0.001, 0.9)
    assert pair.rest[0] == pytest.approx(-np.expm1(np.log(0.0009) / n), rel=1e-12)
    assert pair.upper[0] == pair.rest[0]


@pytest.mark.parametrize("top_share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("p", [(0.5, 0.3, 0.2), (0.4, 0.4, 0.2), (0.9, 0.1, 0.0)])
def test_both_bounds_hold_together(p, top_share):
    """Exactly, over all votes: no correction for the number of rivals is needed."""
    alpha, trials = 0.05, 25
    vectors, weights = multinomial(trials, p)
    pair = vote_pair(make(vectors, [[1, 0, 0]] * len(vectors)), alpha, top_share)
    wrong = (pair.lower > p[0]) | (pair.upper < max(p[1:]))
    assert weights[wrong].sum() <= alpha
