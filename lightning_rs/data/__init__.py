"""Data sets as LightningDataModules, and the registry that names them."""

from __future__ import annotations

from lightning_rs.checks import check_known
from lightning_rs.data.base import SPLITS, ImageDataModule, certification_indices, check_image
from lightning_rs.data.cifar10 import CIFAR10
from lightning_rs.data.digits import Digits
from lightning_rs.data.imagenet import ImageNet
from lightning_rs.data.mnist import MNIST

DATASETS: dict[str, type[ImageDataModule]] = {cls.__name__: cls for cls in (Digits, MNIST, CIFAR10, ImageNet)}


def get_dataset_class(name: str) -> type[ImageDataModule]:
    """The data module of that name; an unknown name raises `ValueError` with the known ones."""
    return DATASETS[check_known("data set", name, DATASETS)]


__all__ = [
    "CIFAR10",
    "DATASETS",
    "MNIST",
    "SPLITS",
    "Digits",
    "ImageDataModule",
    "ImageNet",
    "certification_indices",
    "check_image",
    "get_dataset_class",
]
