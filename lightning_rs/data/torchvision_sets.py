"""More data sets of torchvision, by its names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from torch.utils.data import Dataset

from lightning_rs.checks import check_known
from lightning_rs.data.image_files import in_threads
from lightning_rs.data.learned import MOST_FOR_STATISTICS, LearnedDataModule, evenly_spaced, pixel_statistics
from lightning_rs.data.torchvision_data import TorchvisionDataModule
from lightning_rs.data.transforms import Augmentation, ImageSteps, cropped
from lightning_rs.models import ImageFacts
from lightning_rs.models.torchvision_nets import import_torchvision


@dataclass(frozen=True)
class _Set:
    """A data set: number of classes and of channels, size of the images, megabytes, and its splits' arguments."""

    num_classes: int
    channels: int
    size: int
    resized: bool
    megabytes: int
    parts: Mapping[str, Mapping[str, Any]]


def _flag(**others: Any) -> dict[str, dict[str, Any]]:
    return {"train": {"train": True, **others}, "test": {"train": False, **others}}


def _split(*splits: str) -> dict[str, dict[str, Any]]:
    return {split: {"split": split} for split in splits}


_SETS = {
    "CIFAR100": _Set(100, 3, 32, False, 169, _flag()),
    "DTD": _Set(47, 3, 224, True, 625, _split("train", "val", "test")),
    "EMNIST": _Set(47, 1, 28, False, 562, _flag(split="balanced")),
    "FGVCAircraft": _Set(100, 3, 224, True, 2754, _split("train", "val", "test")),
    "FashionMNIST": _Set(10, 1, 28, False, 31, _flag()),
    "Flowers102": _Set(102, 3, 224, True, 345, _split("train", "val", "test")),
    "Food101": _Set(101, 3, 224, True, 4997, _split("train", "test")),
    "GTSRB": _Set(43, 3, 32, True, 277, _split("train", "test")),
    "KMNIST": _Set(10, 1, 28, False, 21, _flag()),
    "OxfordIIITPet": _Set(37, 3, 224, True, 811, {"train": {"split": "trainval"}, "test": {"split": "test"}}),
    "STL10": _Set(10, 3, 96, False, 2640, _split("train", "test")),
    "SVHN": _Set(10, 3, 32, False, 246, _split("train", "test")),
    "USPS": _Set(10, 1, 16, False, 9, _flag()),
}
Name = Literal[
    "CIFAR100", "DTD", "EMNIST", "FGVCAircraft", "FashionMNIST", "Flowers102", "Food101", "GTSRB", "KMNIST",
    "OxfordIIITPet", "STL10", "SVHN", "USPS",
]  # fmt: skip


class Torchvision(LearnedDataModule, TorchvisionDataModule):
    """A data set by the name that torchvision gives it; of EMNIST the balanced one.

    Mean and std are those of the training images, or of 10,000 evenly spaced ones. Images of several sizes are resized
    and cropped, to 224 unless `size` says otherwise (GTSRB: 32).

    Args:
        name: of the data set.
        data_dir: folder that holds, or will hold, the data set (torchvision's layout).
        size: the shorter side is resized to this, and the centre cropped.
        augmentation: of training images; see `lightning_rs.data.transforms`.
        padding: width of the border from which `crop` cuts.
        batch_size: images per training step and process.
        num_workers: processes that load images.
        val_size: training images held out for validation, evenly spaced, where the data set has none.
        download: fetch the data set when it is not there.
        on_device: hold the images as bytes on the device, and augment them there a batch at a time; nothing is loaded
            by processes then.
    """

    def __init__(
        self,
        name: Name,
        data_dir: str = "datasets",
        size: int | None = None,
        augmentation: Augmentation = "none",
        padding: int = 4,
        batch_size: int = 256,
        num_workers: int = 2,
        val_size: int = 500,
        download: bool = False,
        on_device: bool = False,
    ) -> None:
        super().__init__(data_dir, batch_size, num_workers, val_size, download, on_device)
        self._set = _SETS[check_known("data set of torchvision", name, _SETS)]
        self.title, self.megabytes, self.parts = name, self._set.megabytes, self._set.parts
        self.size = self._set.size if size is None else size
        resized = self.size if self._set.resized or self.size != self._set.size else None
        self.steps = ImageSteps(resized, self._set.channels, augmentation, padding)

    def dataset_class(self) -> Callable[..., Dataset]:
        return getattr(import_torchvision().datasets, self.title)

    def learn(self) -> ImageFacts:
        self.prepare_data()  # Which else comes after the facts are asked for.
        self.require()
        dataset = self.part("train", augmented=False)
        chosen = evenly_spaced(len(dataset), MOST_FOR_STATISTICS)
        pixels = in_threads(lambda i: dataset[i][0], chosen, f"Statistics of {self.title}")
        mean, std = pixel_statistics(pixels, self.title)
        names = getattr(dataset, "classes", None)
        known = names is not None and len(set(names)) == self._set.num_classes
        shape = (self._set.channels, self.size, self.size)
        return ImageFacts(self._set.num_classes, shape, mean, std, 255, list(map(str, names)) if known else None)

    def called(self, split: str) -> str:
        resized = "" if self.size == self._set.size else f",size={self.size}"
        return f"{self.name}:name={self.title}{resized}"

    def train_transform(self) -> Callable:
        return self._transform(self.image_steps("train"))

    def eval_transform(self) -> Callable:
        return self._transform(cropped(self.steps.size))

    def _transform(self, steps: list[Callable]) -> Callable:
        transforms = import_torchvision().transforms
        return transforms.Compose([*steps, transforms.ToTensor()])
