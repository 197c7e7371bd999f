"""What an architecture says of itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True)
class Architecture:
    """How to build a net, and which images it takes.

    Attributes:
        name: what users call it.
        build: number of classes in, module out.
        channels: channels of its images; None if any number will do.
        size: height and width of its images, the least ones if `any_larger`; None if any will do.
        any_larger: whether larger images fit too.
    """

    name: str
    build: Callable[[int], nn.Module]
    channels: int | None = None
    size: int | None = None
    any_larger: bool = False

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
