"""Names of architectures, the images they take, and the base classifiers built from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from types import ModuleType

from torch import nn

from lightning_rs.checks import check_at_least
from lightning_rs.models.cifar_resnet import CifarResNet
from lightning_rs.models.digits_cnn import digits_cnn
from lightning_rs.models.lenet import lenet
from lightning_rs.models.normalize import Normalize


@dataclass(frozen=True)
class Architecture:
    """How to build a net, and which images it takes.

    Attributes:
        build: number of classes in, module out.
        channels: channels of its images.
        size: height and width of its images; the least ones if `any_larger`.
        any_larger: whether larger images fit too.
    """

    build: Callable[[int], nn.Module]
    channels: int
    size: int
    any_larger: bool = False

    def takes(self, shape: Sequence[int]) -> bool:
        """Whether images of this (channels, height, width) fit."""
        if len(shape) != 3 or shape[0] != self.channels:
            return False
        return min(shape[1:]) >= self.size if self.any_larger else tuple(shape[1:]) == (self.size, self.size)

    def __str__(self) -> str:
        return f"{self.channels}x{self.size}x{self.size}{' or larger' if self.any_larger else ''}"


def _torchvision_models() -> ModuleType:
    try:
        from torchvision import models
    except RuntimeError as error:
        raise ValueError(f"the installed torch and torchvision builds do not match: {error}") from None
    return models


def _torchvision(name: str, num_classes: int) -> nn.Module:
    return _torchvision_models().get_model(name, weights=None, num_classes=num_classes)


ARCHITECTURES: dict[str, Architecture] = {
    "digits_cnn": Architecture(digits_cnn, channels=1, size=8),
    "lenet": Architecture(lenet, channels=1, size=28),
    "cifar_resnet20": Architecture(partial(CifarResNet, 20), channels=3, size=32),
    "cifar_resnet56": Architecture(partial(CifarResNet, 56), channels=3, size=32),
    "cifar_resnet110": Architecture(partial(CifarResNet, 110), channels=3, size=32),
    "resnet18": Architecture(partial(_torchvision, "resnet18"), channels=3, size=32, any_larger=True),
    "resnet50": Architecture(partial(_torchvision, "resnet50"), channels=3, size=32, any_larger=True),
}


def list_architectures() -> list[str]:
    """Names of all architectures, sorted."""
    return sorted(ARCHITECTURES)


def get_architecture(name: str) -> Architecture:
    """The architecture of that name: ours, or any of torchvision's classification models.

    Raises:
        ValueError: an unknown name; the error lists the known ones.
    """
    if name in ARCHITECTURES:
        return ARCHITECTURES[name]
    models = _torchvision_models()
    others = models.list_models(module=models)
    if name in others:
        return Architecture(partial(_torchvision, name), channels=3, size=32, any_larger=True)
    others = ", ".join(other for other in others if other not in ARCHITECTURES)
    raise ValueError(f"unknown model {name!r}; known: {', '.join(list_architectures())}; and torchvision's: {others}")


def build_base_classifier(
    architecture: str, num_classes: int, input_shape: Sequence[int], mean: Sequence[float], std: Sequence[float]
) -> nn.Sequential:
    """A base classifier for pixels in [0, 1]: `Normalize`, then the named net with fresh weights.

    Args:
        architecture: a name in `list_architectures()`, or of a classification model of torchvision.
        num_classes: number of classes, at least 2.
        input_shape: (channels, height, width) of the images.
        mean, std: statistics of the data set, one number per channel, in pixel units.

    Raises:
        ValueError: an unknown name, or images or statistics that do not fit.
    """
    entry = get_architecture(architecture)
    check_at_least("num_classes", num_classes, 2)
    if not entry.takes(input_shape):
        raise ValueError(f"{architecture} takes {entry} images, the data set has {'x'.join(map(str, input_shape))}")
    if len(mean) != input_shape[0]:
        raise ValueError(f"mean and std must have one entry for each of {input_shape[0]} channels, got {list(mean)}")
    return nn.Sequential(Normalize(mean, std), entry.build(num_classes))
