from math import comb

import numpy as np
import pytest
from reference import binomial_cdf

from lightning_rs.bounds import top_class_p_value, top_two_p_value


@pytest.mark.parametrize("trials", [1, 2, 9, 60])
def test_top_class_equals_the_binomial_sum(trials):
    for top in range(trials + 1):
        exact = sum(comb(trials, k) for k in range(top, trials + 1)) / 2**trials
        assert top_class_p_value(top, trials) == pytest.approx(exact, rel=1e-12)


def test_top_class_in_the_far_tail():
    exact = binomial_cdf(10**6 - 503_000, 10**6, 0.5)
    assert top_class_p_value(503_000, 10**6) == pytest.approx(float(exact), rel=1e-10)


def test_top_two():
    assert top_two_p_value(7, 7) == 1.0
    assert top_two_p_value(0, 0) == 1.0
    assert top_two_p_value(12, 0) == pytest.approx(2.0**-11, rel=1e-12)
    exact = 2 * sum(comb(15, k) for k in range(11, 16)) / 2**15
    assert top_two_p_value(11, 4) == pytest.approx(exact, rel=1e-12)
    assert np.array_equal(top_two_p_value([7, 12], [7, 0]), [top_two_p_value(7, 7), top_two_p_value(12, 0)])


@pytest.mark.parametrize(("p", "trials", "alpha"), [((0.5, 0.5, 0.0), 40, 0.05), ((0.34, 0.33, 0.33), 40, 0.05)])
def test_wrong_answers_by_enumeration(p, trials, alpha):
    """Both tests name a class other than the (first) most likely one with probability at most alpha."""
    wrong = {"top_two": 0.0, "top_class": 0.0}
    for a in range(trials + 1):
        for b in range(trials - a + 1):
            counts = np.array([a, b, trials - a - b])
            probability = comb(trials, a) * comb(trials - a, b) * np.prod(np.power(p, counts))
            if counts.argmax() != 0:
                runner_up, top = np.sort(counts)[-2:]
                wrong["top_two"] += probability * (top_two_p_value(top, runner_up) <= alpha)
                wrong["top_class"] += probability * (top_class_p_value(top, trials) <= alpha)
    assert wrong["top_two"] <= alpha
    assert wrong["top_class"] <= alpha


def test_bad_input():
    with pytest.raises(ValueError, match=r"top must be integers in \[0, trials\], got 5 of 4"):
        top_class_p_value(5, 4)
    with pytest.raises(ValueError, match="top >= runner_up >= 0, got 3 and 4"):
        top_two_p_value(3, 4)
