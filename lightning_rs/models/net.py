"""The stage that tells the classes apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from lightning_rs.models.images import ImageFacts
from lightning_rs.models.lora import add_lora
from lightning_rs.models.registry import get_architecture
from lightning_rs.models.stage import Stage


def _build(
    images: ImageFacts, architecture: str, lora: int | None = None, config: Mapping[str, Any] | None = None
) -> nn.Module:
    entry = get_architecture(architecture, config)
    if not entry.takes(images.shape):
        raise ValueError(f"{architecture} takes {entry} images, the data set has {'x'.join(map(str, images.shape))}")
    net = entry.build(images.num_classes)
    if entry.config is not None:
        net.own_config = entry.config
    return net if lora is None else add_lora(net, lora, images.num_classes)


NET = Stage("net", _build)
