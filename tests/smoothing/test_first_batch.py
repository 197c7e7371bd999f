"""Base classifiers whose draws are not independent are refused; those whose rows are random each by itself are not."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from lightning_rs import SmoothedClassifier

pytestmark = pytest.mark.usefixtures("known_randomness")
torch.manual_seed(0)
NET = nn.Sequential(nn.Linear(20, 16), nn.ReLU(), nn.Linear(16, 3)).eval()
NORM = nn.BatchNorm1d(20).train()
SEEDS = itertools.count()


@pytest.fixture(autouse=True)
def same_seeds(monkeypatch):
    """Of generators that no global state sets back: others in every call, and in every test the same."""
    monkeypatch.setitem(globals(), "SEEDS", itertools.count())


def dropout(rows):
    return NET(functional.dropout(rows, 0.3, training=True))


def flip(rows):
    """Few answers: the sign of the first pixel, wrong with probability .3."""
    flipped = torch.rand(len(rows)) < 0.3
    return functional.one_hot(((rows[:, 0] > 0.5) ^ flipped).long(), 3).float()


def sure(rows):
    """Random only where the first pixel is low, as it is in few rows."""
    return torch.where(rows[:, :1] > -0.2, NET(torch.zeros(20)), dropout(rows))


def one_mask_where_unsure(rows):
    return torch.where(rows[:, :1] > -0.2, NET(torch.zeros(20)), one_mask(rows))


def own_generators(rows):
    """As third-party code may do it, from NumPy's."""
    noise = np.random.normal(size=tuple(rows.shape))  # noqa: NPY002
    return NET(rows + torch.from_numpy(noise).to(rows))


def out_of_reach(rows):
    """From generators that no global state sets back."""
    noise = np.random.default_rng(next(SEEDS)).normal(size=tuple(rows.shape))
    return NET(rows + torch.from_numpy(noise).to(rows))


def half_precision(rows):
    return dropout(rows).bfloat16()


def one_mask(rows):
    return NET(rows * functional.dropout(torch.ones(1, 20), 0.3, training=True))


def one_flip(rows):
    flipped = torch.rand(1) < 0.5
    return functional.one_hot(((rows[:, 0] > 0.5) ^ flipped).long(), 3).float()


def a_mask_for_eight(rows):
    masks = torch.rand(-(-len(rows) // 8), 20)  # Of zeros and ones, two calls would now and then have one in common.
    return NET(rows * masks.repeat_interleave(8, dim=0)[: len(rows)])


def mostly_one_mask(rows):
    """A mask for all, and a little of each row's own."""
    return one_mask(rows) + 0.01 * torch.rand(len(rows), 3)


def seeded(rows):
    torch.manual_seed(0)
    return dropout(rows)


def counted(rows, count=itertools.count()):  # noqa: B008 - it is to go on from call to call.
    """No draw at all: another answer in every call."""
    return NET(rows) + next(count) * torch.ones(3)


def plain(rows):
    return NET(rows)


def norm_of_the_batch(rows):
    return NET(NORM(functional.dropout(rows, 0.3, training=True)))


def a_little_of_the_batch(rows):
    return dropout(rows) + 0.5 * rows.amax()


def ask(classifier, batch_size=100, n=300):
    g = SmoothedClassifier(classifier, 3, 0.5, batch_size=batch_size, stochastic=True)
    with torch.no_grad():
        return g.sample(torch.rand(3, 20, generator=torch.Generator().manual_seed(0)), n0=20, n=n)


@pytest.mark.parametrize("batch_size", [1, 2, 7, 100])
@pytest.mark.parametrize("classifier", [dropout, flip, own_generators, out_of_reach, half_precision])
def test_rows_that_are_random_each_by_itself_are_sampled(classifier, batch_size):
    n = min(300, 50 * batch_size)
    assert ask(classifier, batch_size, n).counts.sum() == 3 * n


@pytest.mark.parametrize("classifier", [dropout, flip, own_generators, out_of_reach, half_precision])
def test_a_classifier_that_is_random_has_to_be_called_so(classifier):
    with pytest.raises(ValueError, match="always the same; asked again.* for each row by itself: stochastic true"):
        SmoothedClassifier(classifier, 3, 0.5, batch_size=100).sample(torch.zeros(1, 20), n=300)


@pytest.mark.parametrize(
    ("classifier", "message"),
    [
        (one_mask, "is shared by rows of a batch"),
        (one_flip, "(is shared by rows of a batch|answer at random, and this one does not)"),
        (a_mask_for_eight, "is shared by rows of a batch"),
        (mostly_one_mask, "is shared by rows of a batch"),
        (counted, "is shared by rows of a batch"),
        (seeded, "randomness begins anew in every call"),
        (plain, "answer at random, and this one does not"),
        (nn.Sequential(NET, nn.Dropout(0.5)), "answer at random, and this one does not"),
        (norm_of_the_batch, "depends on the rows beside it: batch norm must not be in training mode"),
        (a_little_of_the_batch, "depends on the rows beside it"),
    ],
)
def test_what_is_not_independent_is_refused(classifier, message):
    for batch_size in (30, 100):
        with pytest.raises(ValueError, match=message) as error:
            ask(classifier, batch_size)
        assert "\n" not in str(error.value)


def test_a_classifier_that_is_random_at_few_rows_is_judged_by_those():
    assert ask(sure).counts.sum() == 900
    with pytest.raises(ValueError, match="is shared by rows of a batch"):
        ask(one_mask_where_unsure)


def test_one_row_a_call_shares_with_nobody():
    assert ask(one_mask, batch_size=1, n=50).counts.sum() == 150


def test_draws_that_cannot_be_replayed_are_compared_in_law():
    """A generator that no state sets back draws others in every call, and batch norm still shows."""

    def mixing(rows):
        noise = np.random.default_rng(next(SEEDS)).normal(size=tuple(rows.shape), scale=0.01)
        return NET(NORM(rows + torch.from_numpy(noise).to(rows)))

    with pytest.raises(ValueError, match="depends on the rows beside it"):
        ask(mixing)


def test_independent_rows_are_hardly_ever_refused():
    for _ in range(15):
        ask(dropout, 30)
        ask(flip, 100)
