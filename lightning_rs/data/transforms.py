"""How images are brought to size, and how training images are augmented."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from lightning_rs.models.torchvision_nets import import_torchvision

Augmentation = Literal["none", "flip", "crop", "crop_flip", "random_resized_crop"]
"""Of training images: `flip` mirrors every other one; `crop` cuts from a black border of `padding` pixels; `crop_flip`
does both, as for CIFAR-10; `random_resized_crop` cuts a part of random size and shape, and flips, as for ImageNet."""


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
