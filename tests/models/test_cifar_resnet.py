import pytest
import torch

from lightning_rs.models import ARCHITECTURES
from lightning_rs.models.cifar_resnet import BasicBlock, CifarResNet, PaddedShortcut


@pytest.mark.parametrize(
    ("name", "parameters"),
    # He et al. 2015, Table 6: .27, .46, .66, .85 and 1.7 million for depth 20 to 110; projections add 2,752.
    [
        *(("cifar_resnet20", 272_474), ("cifar_resnet56", 855_770), ("cifar_resnet110", 1_730_714)),
        *(("cifar_resnet20_a", 269_722), ("cifar_resnet32_a", 464_154), ("cifar_resnet44_a", 658_586)),
        *(("cifar_resnet56_a", 853_018), ("cifar_resnet110_a", 1_727_962)),
    ],
)
def test_sizes(name, parameters):
    net = ARCHITECTURES[name].build(10)
    assert sum(p.numel() for p in net.parameters()) == parameters


@pytest.mark.parametrize("depth", [20, 56, 110])
def test_the_depth_counts_the_layers_with_weights_but_not_the_projections(depth):
    net = CifarResNet(depth, 10)
    layers = [name for name, module in net.named_modules() if isinstance(module, (torch.nn.Conv2d, torch.nn.Linear))]
    assert len([name for name in layers if "downsample" not in name]) == depth
    projections = ["layer2.0.downsample.0", "layer3.0.downsample.0"]
    assert [name for name in layers if "downsample" in name] == projections


def test_shapes_from_stage_to_stage():
    net, x = CifarResNet(8, 5).eval(), torch.rand(2, 3, 32, 32)
    shapes = []
    for layer in (net.layer1, net.layer2, net.layer3, net.avgpool, net.fc):
        layer.register_forward_hook(lambda module, _, output: shapes.append(tuple(output.shape[1:])))
    net(x)
    assert shapes == [(16, 32, 32), (32, 16, 16), (64, 8, 8), (64, 1, 1), (5,)]


def test_a_padded_shortcut_keeps_every_other_pixel_between_channels_of_zeros():
    x = torch.rand(2, 4, 6, 6)
    y = PaddedShortcut()(x)
    assert y.shape == (2, 8, 3, 3)
    assert torch.equal(y[:, 2:6], x[:, :, ::2, ::2])
    assert not y[:, :2].any() and not y[:, 6:].any()


def test_a_block_that_adds_nothing_is_the_rectified_shortcut():
    block = BasicBlock(4, 4, 1).eval()
    torch.nn.init.zeros_(block.conv2.weight)
    x = torch.linspace(-1, 1, 2 * 4 * 9).view(2, 4, 3, 3)
    assert torch.equal(block(x), x.relu())


@pytest.mark.parametrize("depth", [2, 18, 111])
def test_depths_that_cannot_be(depth):
    with pytest.raises(ValueError, match=f"^depth must be 6 n \\+ 2 with n >= 1, got {depth}$"):
        CifarResNet(depth, 10)
