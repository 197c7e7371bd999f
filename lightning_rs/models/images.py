"""What a base classifier is built for: the images and their classes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from lightning_rs.checks import check_at_least, check_several, shown


@dataclass(frozen=True)
class ImageFacts:
    """Facts about the images of a data set.

    Args:
        num_classes: number of classes, at least 2.
        shape: (channels, height, width).
        mean, std: statistics of the training images, one number per channel, in pixel units; std > 0.
        levels: pixels are multiples of 1 / levels, 255 for 8-bit images; None if they lie on no grid.
        classes: names of the classes in the order of their labels; None if they have none.

    Raises:
        ValueError: a value out of range, statistics of another number of channels, or names of other classes.
    """

    num_classes: int
    shape: Sequence[int]
    mean: Sequence[float]
    std: Sequence[float]
    levels: int | None = None
    classes: Sequence[str] | None = None

    def __post_init__(self) -> None:
        check_at_least("num_classes", self.num_classes, 2)
        shape, mean, std = tuple(map(int, self.shape)), tuple(map(float, self.mean)), tuple(map(float, self.std))
        if len(shape) != 3 or min(shape) < 1:
            raise ValueError(f"shape must be (channels, height, width), each at least 1, got {shape}")
        if not len(mean) == len(std) == shape[0]:
            raise ValueError(
                f"mean and std must have one entry for each of {shape[0]} channels, got {list(mean)} and {list(std)}"
            )
        if not all(map(math.isfinite, (*mean, *std))) or not all(s > 0 for s in std):
            raise ValueError(f"mean and std must be finite, and std positive, got {list(mean)} and {list(std)}")
        if self.levels is not None:
            check_at_least("levels", self.levels, 1)
        if self.classes is not None:
            classes = tuple(check_several("classes", self.classes))
            if not all(isinstance(name, str) for name in classes) or len(set(classes)) != self.num_classes:
                raise ValueError(f"classes must be {self.num_classes} different names, got {shown(list(classes))}")
            object.__setattr__(self, "classes", classes)
        for name, value in (("shape", shape), ("mean", mean), ("std", std)):
            object.__setattr__(self, name, value)

    def of_shape(self, shape: Sequence[int]) -> ImageFacts:
        """The same of another shape; statistics of one channel serve for any number of them."""
        shape = tuple(shape)
        mean, std = ((values * shape[0] if len(values) == 1 else values) for values in (self.mean, self.std))
        return replace(self, shape=shape, mean=mean, std=std)

    def plain(self) -> dict[str, Any]:
        """The facts as plain numbers, texts and lists, for checkpoints."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}
