"""The classification models of torchvision, under its own names, with fresh weights."""

from __future__ import annotations

from functools import partial
from types import ModuleType

from torch import nn

from lightning_rs.models.architecture import Architecture


def import_torchvision() -> ModuleType:
    """torchvision, imported when it is needed; builds that do not match torch are named as such."""
    try:
        import torchvision
    except RuntimeError as error:
        raise ValueError(f"the installed torch and torchvision builds do not match: {error}") from None
    return torchvision


def _build(name: str, num_classes: int) -> nn.Module:
    return import_torchvision().models.get_model(name, weights=None, num_classes=num_classes)


def list_torchvision() -> list[str]:
    """Names of torchvision's classification models."""
    models = import_torchvision().models
    return models.list_models(module=models)


def torchvision_architecture(name: str) -> Architecture:
    """The model that torchvision calls `name`, for colour images.

    Raises:
        ValueError: it has none of that name.
    """
    if name not in (known := list_torchvision()):
        raise ValueError(f"unknown model {name!r} of torchvision; known: {', '.join(known)}")
    return Architecture(name, partial(_build, name), channels=3, size=32, any_larger=True)


RESNET18, RESNET50 = (
    Architecture(name, partial(_build, name), channels=3, size=32, any_larger=True) for name in ("resnet18", "resnet50")
)
