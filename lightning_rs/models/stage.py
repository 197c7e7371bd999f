"""What a stage of the base classifier says of itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True)
class Stage:
    """One of the layers, large or small, that a base classifier applies one after the other.

    Attributes:
        name: what users call it, and the first part of its weights' names.
        build: `build(images, **options)` -> module, where `images` are the `ImageFacts` of what comes in. A module
            whose images have another shape says so as its attribute `output_shape`, (channels, height, width).
    """

    name: str
    build: Callable[..., nn.Module]
