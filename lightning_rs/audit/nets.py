"""Nets with random weights: what an audit runs where the arithmetic of a net is the point."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from lightning_rs.data import Digits
from lightning_rs.models import build_base_classifier
from lightning_rs.noise import GridGaussian, Noise
from lightning_rs.smoothing import Preparation
from lightning_rs.smoothing.sampler import evaluating

NOISE = GridGaussian(0.25, Digits.levels)
"""Under which digits are certified."""


class Centred(nn.Module):
    """Scores of which each class's mean is taken: several classes then get votes.

    A layer of its own, as the bias of a product is added before or after its sum is rounded, as the kernel likes.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(num_classes))
        self.register_buffer("scale", torch.ones(()))

    def forward(self, scores: Tensor) -> Tensor:
        return (scores.float() - self.mean) * self.scale


@cache
def digits(split: str) -> Dataset:
    """The embedded digits of a split: see `Digits`."""
    return Digits().dataset(split)


@cache
def digits_net(exact: bool, seed: int = 0) -> nn.Sequential:
    """Convolutions, batch norms and a linear layer with random weights, for images (1, 8, 8) and 10 classes.

    On the CPU, and the same object whenever it is asked for: to be copied before it is changed.

    Args:
        exact: whether weights are -1, 0, 1 and batch norms halve. All sums are then of integers below 2^24 in units of
            1/64: any order of additions gives the same bits, so that nothing can matter but a row's own integers.
            Otherwise sums are rounded, as in any net.
        seed: of the weights.
    """
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        net = nn.Sequential(
            # Strides keep libraries from fast convolutions through fractions, which are not exact.
            nn.Conv2d(1, 16, kernel_size=3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(16, eps=0.0),
            nn.ReLU(),
            nn.Conv2d(16, 32, kernel_size=3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(32, eps=0.0),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(32 * 2 * 2, 10, bias=False),
            Centred(10),
        )
        for module in net:
            if exact and isinstance(module, (nn.Conv2d, nn.Linear)):
                module.weight.copy_((1.4 * module.weight / module.weight.abs().max()).round())
            if isinstance(module, nn.BatchNorm2d):
                _make_norm(module, exact)
        _centre(net, torch.stack([image for image, _ in digits("val")]), NOISE)
    return net.eval()


@cache
def thin_resnet(seed: int = 0) -> nn.Sequential:
    """A ResNet-20 with random weights, for images (3, 32, 32) and 10 classes; otherwise as `digits_net`."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        net = build_base_classifier("cifar_resnet20", 10, [3, 32, 32], [0.5] * 3, [0.25] * 3)
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                _make_norm(module, exact=False)
        net.add_module("centred", Centred(10))
        _centre(net, pictures(64), GridGaussian(0.25, 255))
    return net.eval()


def pictures(count: int) -> Tensor:
    """Images (count, 3, 32, 32) of 8 bits, each a smooth random one."""
    coarse = torch.rand((count, 3, 4, 4), generator=torch.Generator().manual_seed(0))
    return nn.functional.interpolate(coarse, size=32, mode="bilinear").mul(255).round().div(255)


def rounding_share(preparation: Preparation) -> float:
    """Share of such a net's votes, at most, whose two best scores are equal up to rounding.

    Seen were a few in a million in float32, and one in a hundred where products are rounded to 8 bits.
    """
    return 0.001 if preparation.precision == "float32" else 0.1


def _make_norm(norm: nn.BatchNorm2d, exact: bool) -> None:
    """Statistics and weights such as a training leaves, or ones that only halve."""
    if exact:
        norm.weight.fill_(0.5)
    else:
        norm.weight.uniform_(0.5, 1.5)
        norm.running_mean.uniform_(-0.2, 0.2)
        norm.running_var.uniform_(0.5, 2.0)


def _centre(net: nn.Sequential, images: Tensor, noise: Noise) -> None:
    noisy = images + noise.draw(images, generator=torch.Generator().manual_seed(0))
    with evaluating(net):
        scores = net(noisy)
    net[-1].mean.copy_(scores.mean(dim=0).mul(16).round() / 16)
    # A power of two, with which scores are about 2: softmax scores are then neither equal nor sure.
    net[-1].scale.fill_(2.0 ** (1 - scores.std(dim=0).mean().log2().round()))
