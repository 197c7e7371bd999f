"""What a stage of the base classifier says of itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

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


def check_builds(path: str, value: Any, what: str) -> None:
    """Refuse what a user calls by a path if it is no function or class that makes a module.

    Raises:
        TypeError: says that it is no `what`.
    """
    if not callable(value) or (isinstance(value, type) and not issubclass(value, nn.Module)):
        raise TypeError(f"{path} is no {what}")
