"""Data sets as LightningDataModules, and the registry that names them."""

from lightning_rs.data.arguments import typed_arguments
from lightning_rs.data.arrays import Arrays
from lightning_rs.data.base import SPLITS, ImageDataModule, certification_indices, check_subset
from lightning_rs.data.checked import ImageError, check_image, read_image
from lightning_rs.data.cifar10 import CIFAR10
from lightning_rs.data.digits import Digits
from lightning_rs.data.huggingface import HuggingFace
from lightning_rs.data.image_folder import ImageFolder
from lightning_rs.data.imagenet import ImageNet
from lightning_rs.data.learned import LearnedDataModule
from lightning_rs.data.mnist import MNIST
from lightning_rs.data.registry import DATASETS
from lightning_rs.data.torchvision_sets import Torchvision

__all__ = [
    "CIFAR10",
    "DATASETS",
    "MNIST",
    "SPLITS",
    "Arrays",
    "Digits",
    "HuggingFace",
    "ImageDataModule",
    "ImageError",
    "ImageFolder",
    "ImageNet",
    "LearnedDataModule",
    "Torchvision",
    "certification_indices",
    "check_image",
    "check_subset",
    "read_image",
    "typed_arguments",
]
