import copy
from collections import Counter

import pytest
import torch

from lightning_rs.audit.nets import NOISE, digits, digits_net, pictures, rounding_share, thin_resnet
from lightning_rs.noise import GridGaussian
from lightning_rs.smoothing import Preparation


def noisy(images, noise=NOISE):
    return images + noise.draw(images, generator=torch.Generator().manual_seed(1))


def sums(net, rows):
    """Before the last layer, which only shifts and scales."""
    with torch.no_grad():
        return net[:-1](rows)


@pytest.fixture(scope="module")
def rows():
    return noisy(torch.stack([image for image, _ in digits("test")]))


def test_the_exact_net_rounds_nothing(rows):
    """In float32 it gives the numbers of float64, in batches of one and in large ones; the other one does not."""
    exact, rounding = digits_net(exact=True), digits_net(exact=False)
    scores = sums(exact, rows)
    assert torch.equal(scores.double(), sums(copy.deepcopy(exact).double(), rows.double()))
    assert torch.equal(scores[:5], torch.cat([sums(exact, row[None]) for row in rows[:5]]))
    assert torch.equal(scores * 64, (scores * 64).round()) and scores.abs().max() * 64 < 2**24
    assert not torch.equal(sums(rounding, rows).double(), sums(copy.deepcopy(rounding).double(), rows.double()))


@pytest.mark.parametrize("exact", [True, False])
def test_several_classes_get_votes_with_scores_that_are_not_sure(exact, rows):
    scores = digits_net(exact)(rows)
    votes = Counter(scores.argmax(dim=1).tolist())
    assert len(votes) >= 8 and max(votes.values()) < 0.5 * len(rows)
    assert 0.3 < scores.softmax(dim=1).amax(dim=1).mean() < 0.8


def test_the_net_does_not_move_the_global_generator():
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    digits_net.__wrapped__(exact=False)
    assert torch.equal(torch.rand(1), expected)


def test_the_resnet_takes_pictures_on_the_grid():
    images = pictures(8)
    GridGaussian(0.25, 255).check_input(images)
    with torch.no_grad():
        scores = thin_resnet()(noisy(images, GridGaussian(0.25, 255)))
    assert scores.shape == (8, 10) and len(scores.argmax(dim=1).unique()) > 1


def test_more_may_move_where_products_are_rounded_to_fewer_bits():
    assert rounding_share(Preparation()) < rounding_share(Preparation("bfloat16"))
