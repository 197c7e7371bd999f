import torch

from lightning_rs.models import ARCHITECTURES
from lightning_rs.models.lenet import lenet


def test_size():
    """Convolutions 20 (25 + 1) and 50 (20 * 25 + 1), then 500 (800 + 1) and 10 (500 + 1)."""
    net = ARCHITECTURES["lenet"].build(10)
    assert sum(p.numel() for p in net.parameters()) == 520 + 25_050 + 400_500 + 5_010


def test_it_is_known_for_28x28_grey_images_and_layers_have_names():
    assert str(ARCHITECTURES["lenet"]) == "1x28x28"
    net = lenet(3)
    x = torch.rand(2, 1, 28, 28)
    assert net[:6](x).shape == (2, 50, 4, 4)
    # By hand, from its named weights.
    y = torch.nn.functional.max_pool2d(net.conv1(x).relu(), 2)
    y = torch.nn.functional.max_pool2d(net.conv2(y).relu(), 2)
    assert torch.equal(net(x), net.fc2(net.fc1(y.flatten(1)).relu()))
