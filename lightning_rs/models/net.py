"""The stage that tells the classes apart."""

from __future__ import annotations

from torch import nn

from lightning_rs.models.images import ImageFacts
from lightning_rs.models.registry import get_architecture
from lightning_rs.models.stage import Stage


def _build(images: ImageFacts, architecture: str) -> nn.Module:
    entry = get_architecture(architecture)
    if not entry.takes(images.shape):
        raise ValueError(f"{architecture} takes {entry} images, the data set has {'x'.join(map(str, images.shape))}")
    return entry.build(images.num_classes)


NET = Stage("net", _build)
