"""The classification models of torchvision, under its own names, with fresh weights."""

from __future__ import annotations

from functools import partial
from types import ModuleType

from torch import nn

from lightning_rs.models.architecture import Architecture


def _models() -> ModuleType:
    try:
        from torchvision import models
    except RuntimeError as error:
        raise ValueError(f"the installed torch and torchvision builds do not match: {error}") from None
    return models


def _build(name: str, num_classes: int) -> nn.Module:
    return _models().get_model(name, weights=None, num_classes=num_classes)


def list_torchvision() -> list[str]:
    """Names of torchvision's classification models."""
    return _models().list_models(module=_models())


def torchvision_architecture(name: str) -> Architecture:
    """The model that torchvision calls `name`, for colour images."""
    return Architecture(name, partial(_build, name), channels=3, size=32, any_larger=True)


RESNET18, RESNET50 = map(torchvision_architecture, ("resnet18", "resnet50"))
