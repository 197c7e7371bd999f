"""The one table of fields: what it says of each holds for statistics that are sampled, stored and read."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from lightning_rs import SmoothedClassifier, Statistics
from lightning_rs.statistics import FIELDS, fields_from, gradient_moments
from lightning_rs.statistics.fields import Looks, Sizes, Source, Sparse

SHAPE = (3, 2, 2)
PRIOR = {"prior_counts": [[90, 100], [7, 9]], "paired_counts": [[0, 130], [0, 0]]}
SIZES = Sizes(classes=5, draws=130, looks=1, input_shape=SHAPE)
# Regions are what is left of other fields.
DRAWN = [name for name in FIELDS if name not in fields_from(Source.REGIONS)]


def sample(names, seed=0):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 5))
    images = torch.rand(2, *SHAPE)
    fields = set(names) - set(PRIOR)
    sampled = SmoothedClassifier(net, 5, 0.5, seed=seed).sample(images, [4, 9], n0=20, n=130, fields=fields)
    return replace(sampled, **PRIOR)


@pytest.fixture(scope="module")
def sampled():
    return sample(DRAWN)


def test_every_field_has_one_source():
    assert set.union(*(set(fields_from(source)) for source in Source)) == set(FIELDS)
    assert fields_from(Source.VOTES) == {"counts", "selection_counts"}
    assert fields_from(Source.INDEX) == {"uniform"}
    assert fields_from(Source.PRIOR) == set(PRIOR)


@pytest.mark.parametrize("name", DRAWN)
def test_shape_and_type_are_those_of_what_is_sampled(sampled, name):
    values, field = getattr(sampled, name), FIELDS[name]
    assert values.shape == (2, *field.shape(SIZES))
    assert values.dtype == np.dtype(field.dtype)
    assert getattr(Statistics.empty(0.5, DRAWN, SIZES), name).shape == (0, *field.shape(SIZES))


def test_no_example_joins_any(sampled):
    nothing = Statistics.empty(0.5, DRAWN, SIZES)
    assert len(nothing) == 0 and nothing.held == sampled.held
    joined = Statistics.concatenate([nothing, sampled])
    assert all(np.array_equal(getattr(joined, name), getattr(sampled, name)) for name in DRAWN)


def test_all_but_single_scores_are_stored_and_read_back_to_the_bit(sampled):
    rows = []
    for i in range(len(sampled)):
        stored = json.loads(json.dumps(sampled.to_plain(i)))
        sparse = {k for k in stored if k in FIELDS and FIELDS[k].storage is Sparse}  # Keys of JSON are text.
        rows.append({k: {int(place): n for place, n in v.items()} if k in sparse else v for k, v in stored.items()})
    read = Statistics.from_plain(rows, 0.5, 5)
    assert set(read.held) == set(DRAWN) - {"scores"}
    for name in read.held:
        before, after = getattr(sampled, name), getattr(read, name)
        assert before.dtype == after.dtype and np.array_equal(before, after), name
    assert read.input_shape == SHAPE


def test_draws_add_as_the_table_says():
    names = set(DRAWN) - {"look_counts"}
    first, second = sample(names), sample(names, seed=1)
    both = first + second
    assert both.held == first.held
    for name in both.held:
        a, b = getattr(first, name), getattr(second, name)
        expected = {
            "scores": lambda a, b: np.concatenate([a, b], axis=1),
            "uniform": lambda a, b: a,
            "prior_counts": lambda a, b: a,
            "gradient_moments": lambda a, b: gradient_moments(first.gradient_sums + second.gradient_sums),
        }.get(name, np.add)(a, b)
        assert np.array_equal(getattr(both, name), expected), name
    assert not np.array_equal(first.score_sum, second.score_sum)


def test_unanimous_draws_are_those_of_a_certain_classifier():
    def certain(x):
        return torch.tensor([1000.0, -1000.0]).repeat(len(x), 1)

    names = set(DRAWN) - fields_from(Source.NOISE) - set(PRIOR)
    unanimous = Statistics.unanimous(50, names)
    drawn = SmoothedClassifier(certain, 2, 1.0).sample(torch.zeros(1, 1), n0=50, n=50, fields=names)
    for name in names - {"uniform"}:
        assert np.array_equal(getattr(unanimous, name), getattr(drawn, name)), name
    assert 0.0 < unanimous.uniform[0] < 1.0


def test_sparse_storage_keeps_the_places_with_a_number():
    assert Sparse.encode(np.array([0, 7, 0, 2])) == {1: 7, 3: 2}
    assert Sparse.decode([{1: 7, 3: 2}, {}], 4).tolist() == [[0, 7, 0, 2], [0, 0, 0, 0]]
    with pytest.raises(ValueError, match="the records hold votes for class 4, of 4 classes"):
        Sparse.decode([{1: 7, 4: 2}], 4)


def test_storage_of_looks_ends_where_drawing_did():
    """Read back, examples that stopped early repeat their last look."""
    early = Looks.encode(np.array([[20, 25], [45, 50], [45, 50]]))
    late = Looks.encode(np.array([[20, 25], [40, 50], [60, 75]]))
    assert (early, late) == ([[20, 25], [45, 50]], [[20, 25], [40, 50], [60, 75]])
    read = Looks.decode([early, late], 0)
    assert read.tolist() == [[[20, 25], [45, 50], [45, 50]], [[20, 25], [40, 50], [60, 75]]]
