import numpy as np
import pytest
from mpmath import mpf
from reference import quantile

from lightning_rs.mechanisms import neyman_pearson_radius

PAIRS = [
    (0.9, 0.05),
    (0.500001, 0.499999),
    (0.4, 0.1),
    (0.999, 1e-3),
    (1 - 1e-9, 1e-12),
    (0.3, 0.29999),
    (0.9, 0.9 - 1e-5),
    (0.51, 1e-300),
]


@pytest.mark.parametrize(("p_lower", "p_upper"), PAIRS)
@pytest.mark.parametrize("sigma", [0.12, 0.25, 1.0])
def test_equals_forty_digits_from_below(p_lower, p_upper, sigma):
    radius = float(neyman_pearson_radius(p_lower, p_upper, sigma))
    exact = mpf(sigma) / 2 * (quantile(p_lower) - quantile(p_upper))
    assert radius <= exact
    assert float((exact - radius) / exact) < 1e-9


def test_never_negative_and_zero_without_a_lead():
    assert neyman_pearson_radius(0.4, 0.4, 1.0) == 0.0
    assert neyman_pearson_radius(0.3, 0.4, 1.0) == 0.0
    assert neyman_pearson_radius(0.0, 0.0, 1.0) == 0.0
    assert neyman_pearson_radius(0.0, 1.0, 1.0) == 0.0


def test_certainty_is_infinite():
    assert neyman_pearson_radius(1.0, 0.0, 1.0) == np.inf
    assert neyman_pearson_radius(0.9, 0.0, 1.0) == np.inf
    assert neyman_pearson_radius(1.0, 0.5, 1.0) == np.inf
    assert neyman_pearson_radius(1.0, 1.0, 1.0) == 0.0


def test_broadcasts():
    radius = neyman_pearson_radius(np.array([[0.6], [0.9]]), np.array([0.1, 0.05]), 0.5)
    assert radius.shape == (2, 2)
    assert radius[1, 0] == neyman_pearson_radius(0.9, 0.1, 0.5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1.1, 0.0, 1.0), r"\[0, 1\]"),
        ((0.5, float("nan"), 1.0), r"\[0, 1\]"),
        ((0.6, 0.1, 0.0), "sigma must be positive"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        neyman_pearson_radius(*arguments)
