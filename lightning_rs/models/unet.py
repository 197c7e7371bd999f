"""A small UNet that estimates the noise of an image, and takes it off."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_rs.checks import check_at_least
from lightning_rs.models.denoiser import Denoiser
from lightning_rs.models.images import ImageFacts


class UNet(nn.Module):
    """x - net(x), for x of shape (rows, channels, height, width): images in, as many of the same shape out.

    The net sees the image at its own size and halved `depth` times, each time with twice the channels, and on the way
    back puts what it saw at a size beside what comes from below. At every size there are two convolutions 3x3, each
    with batch norm and ReLU; sizes need not be even.

    Source: O. Ronneberger, P. Fischer, T. Brox, "U-Net: Convolutional Networks for Biomedical Image Segmentation",
    2015; with batch norms, padded convolutions and fewer channels.

    Args:
        channels: of the images.
        depth: how often the size is halved, at least 1.
        width: channels at the image's own size.
    """

    def __init__(self, channels: int, depth: int = 2, width: int = 32) -> None:
        super().__init__()
        self.depth, width = check_at_least("depth", depth, 1), check_at_least("width", width, 1)
        widths = [width * 2**level for level in range(depth + 1)]
        self.down = nn.ModuleList(map(_block, [channels, *widths], widths))
        self.up = nn.ModuleList(_block(wide + narrow, narrow) for narrow, wide in pairwise(widths))
        self.last = nn.Conv2d(width, channels, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        seen = [self.down[0](x)]
        for block in self.down[1:]:
            seen.append(block(F.max_pool2d(seen[-1], 2)))
        y = seen.pop()
        for block, beside in zip(reversed(self.up), reversed(seen), strict=True):
            y = block(torch.cat([F.interpolate(y, beside.shape[-2:]), beside], dim=1))
        return x - self.last(y)


def _block(in_channels: int, channels: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for count in (in_channels, channels):
        layers += [nn.Conv2d(count, channels, kernel_size=3, padding=1, bias=False), nn.BatchNorm2d(channels)]
        layers += [nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


def _build(images: ImageFacts, depth: int = 2, width: int = 32) -> UNet:
    if min(images.shape[1:]) < 2 ** check_at_least("depth", depth, 1):
        size = "x".join(map(str, images.shape[1:]))
        raise ValueError(f"images of {size} cannot be halved {depth} times: give the denoiser unet a smaller depth")
    return UNet(images.shape[0], depth, width)


UNET = Denoiser("unet", _build)
