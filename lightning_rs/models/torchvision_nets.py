"""The classification models of torchvision, under its own names."""

from __future__ import annotations

import dataclasses
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import ModuleType
from urllib.error import URLError

import torch
from torch import nn

from lightning_rs.models.architecture import Architecture, Pretrained

_SECONDS = 10.0  # Without a word from the server.


def import_torchvision() -> ModuleType:
    """torchvision, imported when it is needed; builds that do not match torch are named as such."""
    try:
        import torchvision
    except RuntimeError as error:
        raise ValueError(f"the installed torch and torchvision builds do not match: {error}") from None
    return torchvision


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
    return _entry(name)


def sized_architecture(name: str) -> Architecture:
    """The same, with images resized to what its own weights were trained on: `torchvision/NAME`.

    Raises:
        ValueError: torchvision has none of that name.
    """
    entry = dataclasses.replace(torchvision_architecture(name), name=f"torchvision/{name}")
    known = import_torchvision().models.get_model_weights(name)
    if not len(known):
        return entry
    (size,), least = known.DEFAULT.transforms().crop_size, max(known.DEFAULT.meta["min_size"])
    return dataclasses.replace(entry, prefers=size, size=least, any_larger=least < size)


def _entry(name: str) -> Architecture:
    pretrained = partial(_pretrained, name)
    return Architecture(name, partial(_build, name), channels=3, size=32, any_larger=True, pretrained=pretrained)


def _build(name: str, num_classes: int) -> nn.Module:
    return import_torchvision().models.get_model(name, weights=None, num_classes=num_classes)


def _pretrained(name: str, weights: str) -> Pretrained:
    """Weights by torchvision's name for them, such as `DEFAULT`, from its cache or the network.

    Raises:
        OSError: they cannot be fetched; it says what to put where.
        ValueError: the model has none of that name.
    """
    models = import_torchvision().models
    known = models.get_model_weights(name)
    try:
        chosen = known[weights]
    except KeyError:
        names = ", ".join(["DEFAULT", *(member.name for member in known)])
        raise ValueError(f"{name} has the weights {names}, got {weights!r}") from None
    place = Path(torch.hub.get_dir()) / "checkpoints" / chosen.url.rpartition("/")[2]
    try:
        with patience():
            state = chosen.get_state_dict(progress=False, check_hash=True, map_location="cpu", weights_only=True)
    except (URLError, OSError) as error:
        advice = f"download it elsewhere, and put it at {place}"
        raise OSError(f"{chosen.url} cannot be fetched: {advice} ({error})") from None
    except RuntimeError as error:
        raise ValueError(f"{place} cannot be read, remove it to fetch it again: {error}") from None
    transforms = chosen.transforms()
    return Pretrained(state, transforms.mean, transforms.std)


@contextmanager
def patience(seconds: float = _SECONDS) -> Iterator[None]:
    """Sockets that are not told how long to wait, as torch's are not, wait so long."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


RESNET18, RESNET50 = map(_entry, ("resnet18", "resnet50"))
