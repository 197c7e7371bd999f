"""Coverage by enumeration, and values from the closed form of the edge cases."""

import numpy as np
import pytest
from scipy import stats

from lightning_rs.metrics import population_limit, sample_limit, subsample_limits


@pytest.mark.parametrize("robust", [0.0, 0.1, 0.5, 0.9, 0.99, 1.0])
@pytest.mark.parametrize(("examples", "alpha"), [(20, 0.05), (100, 0.001), (500, 0.01)])
@pytest.mark.parametrize("confidence", [0.9, 0.99])
def test_the_population_limit_covers(robust, examples, alpha, confidence):
    """Worst case: every robust image is certified, every other one wrongly with probability alpha."""
    certified = np.arange(examples + 1)
    probability = stats.binom.pmf(certified, examples, robust + (1 - robust) * alpha)
    above = population_limit(certified, examples, alpha, confidence) > robust
    assert probability[above].sum() <= 1 - confidence


@pytest.mark.parametrize("robust", [0, 7, 19, 20])
@pytest.mark.parametrize("alpha", [0.001, 0.05, 0.3])
def test_the_sample_limit_covers(robust, alpha, examples=20, confidence=0.95):
    wrong = np.arange(examples - robust + 1)
    probability = stats.binom.pmf(wrong, examples - robust, alpha)
    above = sample_limit(robust + wrong, examples, alpha, confidence) * examples > robust + 1e-9
    assert probability[above].sum() <= 1 - confidence


def test_values():
    assert population_limit(100, 100, 0.001, 0.95) == pytest.approx(0.05**0.01 - 0.001, rel=1e-12)
    assert population_limit([0, 1], 100, 0.001).tolist() == [0.0, 0.0]
    # Of 10,000 certificates at .001, more than 15 are wrong with probability 4.9 %.
    assert stats.binom.sf(15, 10_000, 0.001) < 0.05 < stats.binom.sf(14, 10_000, 0.001)
    assert sample_limit(5000, 10_000, 0.001) == (5000 - 15) / 10_000
    assert sample_limit(3, 10_000, 0.001) == 0.0


def test_bad_input():
    with pytest.raises(ValueError, match="alpha must lie in"):
        population_limit(1, 2, 0.0)
    with pytest.raises(ValueError, match="must lie in"):
        sample_limit(1, 2, 0.1, confidence=1.0)


@pytest.mark.parametrize("looked_at", [1, 7, 20])
@pytest.mark.parametrize("examples", [20, 53])
def test_the_limits_of_a_subsample_cover_every_number(looked_at, examples):
    limits = np.array([subsample_limits(k, k, looked_at, examples) for k in range(looked_at + 1)])
    for number in range(examples + 1):
        probability = stats.hypergeom.pmf(np.arange(looked_at + 1), examples, number, looked_at)
        assert probability[(limits[:, 0] > number) | (limits[:, 1] < number)].sum() <= 0.05
    assert np.all(np.diff(limits, axis=0) >= 0)


def test_of_a_subsample_that_is_all_nothing_is_left_open_but_what_is_given():
    assert subsample_limits(3, 3, 10, 10) == (3, 3)
    assert subsample_limits(3, 5, 10, 10) == (3, 5)
    assert subsample_limits(0, 10, 10, 500) == (0, 500)
