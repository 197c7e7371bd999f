import numpy as np
import pytest

from lightning_rs import Statistics


def test_selection_and_trials():
    statistics = Statistics.from_counts([[5, 3, 2], [1, 1, 8]], 0.5, [[1, 4, 4], [2, 2, 0]])
    assert np.array_equal(statistics.selected, [1, 0])  # Ties go to the lowest index.
    assert np.array_equal(statistics.trials, [10, 10])
    assert not statistics.same_sample_selection
    assert len(statistics) == 2
    alone = Statistics.from_counts([5, 3, 2], 0.5)
    assert alone.counts.shape == (1, 3)
    assert alone.same_sample_selection
    assert alone.selected[0] == 0


def test_draws_add_and_examples_concatenate():
    a = Statistics.from_counts([[5, 3]], 0.5, [[1, 0]])
    b = Statistics.from_counts([[2, 9]], 0.5, [[3, 2]])
    assert np.array_equal((a + b).counts, [[7, 12]])
    assert np.array_equal((a + b).selection_counts, [[4, 2]])
    both = Statistics.concatenate([a, b])
    assert np.array_equal(both.counts, [[5, 3], [2, 9]])
    with pytest.raises(ValueError, match="same examples, sigma"):
        a + Statistics.from_counts([[2, 9]], 0.25, [[0, 3]])
    with pytest.raises(ValueError, match="agree in sigma"):
        Statistics.concatenate([a, Statistics.from_counts([[2, 9]], 0.5)])


@pytest.mark.parametrize(
    ("counts", "sigma", "selection", "message"),
    [
        ([[1, 2]], 0.0, None, "sigma must be positive and finite, got 0.0"),
        ([[1, 2]], float("inf"), None, "sigma"),
        ([[1, -2]], 1.0, None, "counts must hold integers >= 0"),
        ([[1, 0.5]], 1.0, None, "counts must hold integers >= 0"),
        ([[1]], 1.0, None, r"2 or more classes, got \(1, 1\)"),
        ([[1, 2]], 1.0, [[1, 2, 3]], "like counts"),
    ],
)
def test_bad_input(counts, sigma, selection, message):
    with pytest.raises(ValueError, match=message):
        Statistics.from_counts(counts, sigma, selection)
