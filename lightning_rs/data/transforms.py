"""How images are brought to size, and how training images are augmented."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from lightning_rs.checks import check_at_least, check_known, shown
from lightning_rs.models.torchvision_nets import import_torchvision

Augmentation = Literal["none", "flip", "crop", "crop_flip", "random_resized_crop"]
"""Of training images: `flip` mirrors every other one; `crop` cuts from a black border of `padding` pixels; `crop_flip`
does both, as for CIFAR-10; `random_resized_crop` cuts a part of random size and shape, and flips, as for ImageNet."""

BATCHED = ("none", "flip", "crop", "crop_flip")
"""Those that give images of one size, and so can be done to a batch at once."""


def cropped(size: int | None) -> list[Callable[[Any], Any]]:
    """Steps that resize the shorter side to `size` and crop the centre; none where images stay as they are."""
    if size is None:
        return []
    transforms = import_torchvision().transforms
    return [transforms.Resize(size), transforms.CenterCrop(size)]


def augmented(
    augmentation: Augmentation, size: int | None, padding: int, shape: tuple[int, ...]
) -> list[Callable[[Any], Any]]:
    """Steps that bring training images to size and augment them. All draw from torch's global generator.

    Args:
        augmentation: which.
        size: see `cropped`.
        padding: width of the border that `crop` adds.
        shape: (channels, height, width) of what comes out.
    """
    transforms = import_torchvision().transforms
    flip = [transforms.RandomHorizontalFlip()]
    if augmentation == "random_resized_crop":
        return [transforms.RandomResizedCrop(shape[-2:]), *flip]
    crop = [transforms.RandomCrop(shape[-2:], padding=padding)]
    return cropped(size) + {"none": [], "flip": flip, "crop": crop, "crop_flip": crop + flip}[augmentation]


@dataclass(frozen=True)
class ImageSteps:
    """What data sets of a user's own images do to them.

    Args:
        size: the shorter side is resized to this, and the centre cropped; None to leave images as they are.
        channels: 3, or 1 for grey.
        augmentation: of training images.
        padding: width of the border from which `crop` cuts.

    Raises:
        ValueError: a value out of range, or an unknown augmentation.
    """

    size: int | None = None
    channels: int = 3
    augmentation: Augmentation = "none"
    padding: int = 4

    def __post_init__(self) -> None:
        if self.size is not None:
            check_at_least("size", self.size, 1)
        if self.channels not in (1, 3):
            raise ValueError(f"channels must be 1 or 3, got {shown(self.channels)}")
        check_known("augmentation", self.augmentation, Augmentation.__args__)
        check_at_least("padding", self.padding, 0)

    def of(self, split: str, shape: Sequence[int]) -> list[Callable[[Any], Any]]:
        """The steps of a split, of which (channels, height, width) of this shape come out."""
        if split == "train":
            return augmented(self.augmentation, self.size, self.padding, tuple(shape))
        return cropped(self.size)
