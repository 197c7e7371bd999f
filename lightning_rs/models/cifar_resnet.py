"""The thin residual nets for 32x32 colour images: 16, 32 and 64 channels."""

from __future__ import annotations

from functools import partial
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from lightning_rs.models.architecture import Architecture

Shortcut = Literal["projection", "padding"]


class PaddedShortcut(nn.Module):
    """Every other pixel, and as many channels of zeros before as behind, for twice the channels: no parameters."""

    def forward(self, x: Tensor) -> Tensor:
        added = x.shape[1] // 2
        return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, added, added))


class BasicBlock(nn.Module):
    """relu(bn(conv(relu(bn(conv(x))))) + shortcut(x)); where the shape changes, the shortcut changes it."""

    def __init__(self, in_channels: int, channels: int, stride: int, shortcut: Shortcut = "projection") -> None:
        super().__init__()
        self.conv1 = _conv3x3(in_channels, channels, stride)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = _conv3x3(channels, channels, 1)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Module | None = None
        changes = stride != 1 or in_channels != channels
        if changes and shortcut == "padding":
            self.downsample = PaddedShortcut()
        elif changes:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_channels, channels, kernel_size=1, stride=stride, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        y = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(y)) + shortcut)


class CifarResNet(nn.Module):
    """Residual net of depth 6 n + 2 for 3x32x32 images. Parameter names are those of the field's checkpoints.

    Source: K. He, X. Zhang, S. Ren, J. Sun, "Deep Residual Learning for Image Recognition", 2015, Section 4.2.

    Args:
        depth: 6 n + 2.
        num_classes: number of classes.
        shortcut: where the shape changes, `projection` by a 1x1 convolution (their option B, and the field's), or
            `padding` with zeros (their option A, and what they trained on CIFAR-10).
    """

    def __init__(self, depth: int, num_classes: int, shortcut: Shortcut = "projection") -> None:
        super().__init__()
        if depth < 8 or (depth - 2) % 6:
            raise ValueError(f"depth must be 6 n + 2 with n >= 1, got {depth}")
        blocks = (depth - 2) // 6
        self.conv1 = _conv3x3(3, 16, 1)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = _stage(16, 16, blocks, 1, shortcut)
        self.layer2 = _stage(16, 32, blocks, 2, shortcut)
        self.layer3 = _stage(32, 64, blocks, 2, shortcut)
        self.avgpool = nn.AvgPool2d(8)  # The adaptive one adds in another order: other last bits than the field's.
        self.fc = nn.Linear(64, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(self.avgpool(x).flatten(1))


def _conv3x3(in_channels: int, channels: int, stride: int) -> nn.Conv2d:
    return nn.Conv2d(in_channels, channels, kernel_size=3, stride=stride, padding=1, bias=False)


def _stage(in_channels: int, channels: int, blocks: int, stride: int, shortcut: Shortcut) -> nn.Sequential:
    first = BasicBlock(in_channels, channels, stride, shortcut)
    return nn.Sequential(first, *(BasicBlock(channels, channels, 1, shortcut) for _ in range(blocks - 1)))


CIFAR_RESNET20, CIFAR_RESNET56, CIFAR_RESNET110 = (
    Architecture(f"cifar_resnet{depth}", partial(CifarResNet, depth), channels=3, size=32) for depth in (20, 56, 110)
)

CIFAR_RESNET20_A, CIFAR_RESNET32_A, CIFAR_RESNET44_A, CIFAR_RESNET56_A, CIFAR_RESNET110_A = (
    Architecture(f"cifar_resnet{depth}_a", partial(CifarResNet, depth, shortcut="padding"), channels=3, size=32)
    for depth in (20, 32, 44, 56, 110)
)
