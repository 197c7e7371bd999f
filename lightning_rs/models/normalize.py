"""Normalisation as the first layer of the base classifier, so that noise is added to pixels in [0, 1]."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lightning_rs.models.stage import Stage


class Normalize(nn.Module):
    """(x - mean) / std per channel, for x of shape (rows, channels, height, width).

    Args:
        mean, std: one number per channel, in pixel units; std > 0.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        usable = all(map(math.isfinite, (*mean, *std))) and all(s > 0 for s in std)
        if len(mean) != len(std) or not usable:
            raise ValueError(
                f"mean and std must be as long as each other, finite, and std positive, got {mean} and {std}"
            )
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(-1, 1, 1))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).view(-1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.std

    def extra_repr(self) -> str:
        return f"mean={self.mean.flatten().tolist()}, std={self.std.flatten().tolist()}"


NORMALIZE = Stage("normalize", lambda images: Normalize(images.mean, images.std))
