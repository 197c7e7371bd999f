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


def test_draws_add_in_order():
    def part(a, scores):
        counts = np.array([a])
        return Statistics(
            0.5, counts, counts, score_sum=counts * 1.0, scores=np.array([scores], dtype=np.float32), uniform=[0.3]
        )

    both = part([2, 1], [0.1, 0.2, 0.3]) + part([1, 0], [0.9])
    assert np.allclose(both.scores, [[0.1, 0.2, 0.3, 0.9]])
    assert np.array_equal(both.score_sum, [[3.0, 1.0]])
    assert both.uniform[0] == 0.3
    with pytest.raises(ValueError, match="must have the same selected classes"):
        part([2, 1], [0.1, 0.2, 0.3]) + part([0, 1], [0.9])


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


def test_values_outside_of_their_range_or_at_odds_with_counts():
    counts = np.array([[6, 4]])
    for change, message in (
        ({"score_sum": [[11.0, 0.0]]}, r"score_sum must come from scores in \[0, 1\]"),
        ({"score_sum": [[np.nan, 0.0]]}, r"score_sum must come from scores in \[0, 1\]"),
        ({"scores": np.full((1, 10), 1.5, np.float32)}, r"scores must come from scores in \[0, 1\]"),
        ({"scores": np.full((1, 9), 0.5, np.float32)}, "one score for each of the draws, got 9 a row"),
        ({"score_histogram": np.ones((1, 1001), int)}, "score_histogram and counts must add up to the same number"),
        ({"score_sum": [[2.0, 1.0]]}, "score_sum must add up to the number of draws"),
        ({"margin_histogram": np.full((1, 5), 2)}, r"margin_histogram must have the shape \(1, 1001\) like counts"),
        ({"score_sum": [[1.0, 2.0, 3.0]]}, r"score_sum must have the shape \(1, 2\) like counts, got \(1, 3\)"),
        ({"uniform": [1.5]}, "uniform must come from"),
    ):
        with pytest.raises(ValueError, match=message):
            Statistics(0.5, counts, counts, **{name: np.asarray(value) for name, value in change.items()})


def test_looks_that_cannot_be_and_those_that_cannot_be_added():
    for wrong, message in (
        ([[[3, 2]]], "look_counts must hold successes <= draws"),
        ([[[2, 9], [2, 5]]], "draws that grow up to those of counts"),
        ([[2, 5]], r"look_counts must have the shape"),
    ):
        with pytest.raises(ValueError, match=message):
            Statistics(0.5, np.array([[6, 4]]), np.array([[6, 4]]), look_counts=np.array(wrong))
    s = Statistics(0.5, [[25, 0]], [[10, 0]], look_counts=[[[25, 25]]])
    with pytest.raises(ValueError, match="looked at on the way cannot be added"):
        s + s


def test_noise_is_part_of_what_the_draws_say():
    plain, other = (Statistics(0.5, [[5, 3]], noise=noise) for noise in ("gaussian", "uniform"))
    assert Statistics.from_counts([5, 3], 0.5).noise == plain.noise
    with pytest.raises(ValueError, match="same examples, sigma"):
        plain + other
    with pytest.raises(ValueError, match="agree in sigma"):
        Statistics.concatenate([plain, other])
    assert (other + other).noise == Statistics.concatenate([other, other]).noise == "uniform"
