"""What an architecture says of itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn


@dataclass(frozen=True)
class Pretrained:
    """Weights that a net's own library has for it.

    Attributes:
        weights: names and values, those of the last layer included.
        mean, std: what their images were normalised with, one number per channel, in pixel units; None if not said.
    """

    weights: Mapping[str, Tensor]
    mean: Sequence[float] | None = None
    std: Sequence[float] | None = None


@dataclass(frozen=True)
class Architecture:
    """How to build a net, and which images it takes.

    Attributes:
        name: what users call it.
        build: number of classes in, module out.
        channels: channels of its images; None if any number will do.
        size: height and width of its images, the least ones if `any_larger`; None if any will do.
        any_larger: whether larger images fit too.
        prefers: height and width to which images of another size are resized; None if they are left as they are.
        mean, std: what its images are normalised with, one number per channel, in pixel units; None for the statistics
            of the data set.
        pretrained: what a user calls weights of its library -> `Pretrained`; None if there are none.
        carries: whether it is nothing without the weights that it was named with, as a file is.
        config: plain values from which it is built again without the files that it was named with.
    """

    name: str
    build: Callable[[int], nn.Module]
    channels: int | None = None
    size: int | None = None
    any_larger: bool = False
    prefers: int | None = None
    mean: Sequence[float] | None = None
    std: Sequence[float] | None = None
    pretrained: Callable[[str], Pretrained] | None = None
    carries: bool = False
    config: Mapping[str, Any] | None = None

    def takes(self, shape: Sequence[int]) -> bool:
        """Whether images of this (channels, height, width) fit."""
        if len(shape) != 3 or self.channels not in (None, shape[0]):
            return False
        if self.size is None:
            return True
        return min(shape[1:]) >= self.size if self.any_larger else tuple(shape[1:]) == (self.size, self.size)

    def __str__(self) -> str:
        channels, size = self.channels or "any", self.size or "any"
        return f"{channels}x{size}x{size}{' or larger' if self.any_larger else ''}"
