import numpy as np
import pytest

from lightning_rs.noise import Gaussian
from lightning_rs.smoothing.plan import Plan
from lightning_rs.smoothing.sample import Sample


@pytest.fixture
def sample():
    return Sample(
        position=2,
        index=17,
        shape=(3, 4, 4),
        clean_prediction=1,
        selection_counts=np.array([2, 8]),
        counts=np.array([5, 45]),
        selected=1,
        fields={"uniform": np.float64(0.25), "gradient_counts": np.array([[25, 2], [25, 3]])},
        path=[(20, 25), (45, 50)],
        seconds=0.1,
    )


def test_statistics_are_those_of_one_example(sample):
    statistics = sample.statistics(Gaussian(0.5), Plan((50,), 10, fields=frozenset(sample.fields)))
    assert (statistics.sigma, statistics.noise, len(statistics)) == (0.5, "gaussian", 1)
    assert statistics.held == ("counts", "selection_counts", "uniform", "gradient_counts")
    assert statistics.counts.tolist() == [[5, 45]] and statistics.selection_counts.tolist() == [[2, 8]]
    assert statistics.uniform.tolist() == [0.25] and statistics.input_shape == (3, 4, 4)


def test_looks_after_the_stop_repeat_the_last(sample):
    plan = Plan((25, 50, 75, 100), 10, fields=frozenset({"look_counts", "gradient_counts"}))
    looks = sample.statistics(Gaussian(0.5), plan).look_counts
    assert looks.tolist() == [[[20, 25], [45, 50], [45, 50], [45, 50]]]


def test_the_shape_is_kept_where_a_mechanism_reads_it_alone(sample):
    sample.fields.clear()
    for fields, shape in ((set(), None), ({"scores"}, None), ({"input_shape"}, (3, 4, 4))):
        assert sample.statistics(Gaussian(0.5), Plan((50,), 10, fields=frozenset(fields))).input_shape == shape
