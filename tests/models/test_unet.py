import pytest
import torch
from torch import nn

from lightning_rs.models.unet import UNet


@pytest.mark.parametrize("size", [(8, 8), (32, 32), (28, 28), (7, 5)])
def test_any_size_comes_out_as_it_went_in(size):
    torch.manual_seed(0)
    net, x = UNet(3, width=4).eval(), torch.rand(2, 3, *size)
    assert net(x).shape == x.shape
    nn.init.zeros_(net.last.weight)
    nn.init.zeros_(net.last.bias)
    assert torch.equal(net(x), x)


def test_a_pixel_sees_what_lies_further_than_the_convolutions_reach_at_its_own_size():
    """Four convolutions at the image's own size reach 4 pixels; through halved ones there is more."""
    torch.manual_seed(0)
    net = UNet(1, depth=2, width=8).eval()
    x = torch.rand(1, 1, 16, 16, requires_grad=True)
    net(x)[0, 0, 8, 0].backward()
    assert (x.grad[0, 0, 8, 5:9] != 0).any()


def test_every_weight_has_a_part_in_it():
    torch.manual_seed(0)
    net = UNet(1, depth=3, width=4)
    net(torch.rand(4, 1, 16, 16)).square().sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in net.parameters())
    assert [block[0].out_channels for block in net.down] == [4, 8, 16, 32]
    assert [block[0].in_channels for block in net.up] == [8 + 4, 16 + 8, 32 + 16]
