import pytest
import torch

from lightning_rs.audit.band_net import SHAPE, BandNet
from lightning_rs.noise import GridGaussian
from lightning_rs.smoothing import Preparation, prepare

NET = BandNet([3, 6, 9], 8.0, torch.full(SHAPE, 0.5), GridGaussian(0.25, 8)).eval()


def rows():
    return torch.randint(-18, 27, (2000, *SHAPE), generator=torch.Generator().manual_seed(0)).float() / 8


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("changed", [False, True])
def test_the_answers_are_known_to_the_bit(precision, changed):
    batch = rows()
    f = prepare(NET, Preparation(precision, channels_last=changed, fold_batch_norm=changed), batch[:100])
    scores = f(batch)
    assert scores.dtype is getattr(torch, precision)
    assert torch.equal(scores.float(), super(BandNet, NET).forward(batch))
    assert len(scores.argmax(dim=1).unique()) == 4


def test_the_net_is_really_asked():
    """Every layer has a part in the answer: change one of its weights, and answers change."""
    batch = rows()
    right = NET(batch).argmax(dim=1)
    for name, tensor in NET.net.state_dict().items():
        if tensor.is_floating_point():
            before = tensor.clone()
            tensor.flatten()[0] += 9.0
            moved = not torch.equal(NET(batch).argmax(dim=1), right)
            tensor.copy_(before)
            assert moved, name
    assert torch.equal(NET(batch).argmax(dim=1), right)
