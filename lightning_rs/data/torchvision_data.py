"""What torchvision's data sets share: its classes, in a folder of the user's, downloaded only when asked."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch.utils.data import Dataset

from lightning_rs.data.base import ImageDataModule, train_or_val
from lightning_rs.models.torchvision_nets import import_torchvision, patience


class TorchvisionDataModule(ImageDataModule):
    """A data set of torchvision that takes `root` and `download`.

    Attributes:
        title: of the data set, for messages.
        megabytes: of the download.
        parts: what else torchvision's class takes, for each split that it has: `train`, `test` and perhaps `val`.

    Args:
        data_dir: folder that holds, or will hold, the data set.
        batch_size: images per training step and process.
        num_workers: processes that load images.
        val_size: training images held out for validation, where the data set has none.
        download: fetch the data set when it is not there.
        on_device: hold the images as bytes on the device, and augment them there a batch at a time; nothing is loaded
            by processes then.
    """

    title: str
    megabytes: int
    parts: Mapping[str, Mapping[str, Any]] = {"train": {"train": True}, "test": {"train": False}}

    def __init__(
        self, data_dir: str, batch_size: int, num_workers: int, val_size: int, download: bool, on_device: bool = False
    ) -> None:
        super().__init__(batch_size, num_workers, on_device)
        self.data_dir = Path(data_dir).expanduser()
        self.val_size = val_size
        self.download = download

    @abstractmethod
    def dataset_class(self) -> Callable[..., Dataset]:
        """torchvision's class."""

    def train_transform(self) -> Callable:
        """From a PIL image to an augmented tensor in [0, 1]."""
        return self.eval_transform()

    def eval_transform(self) -> Callable:
        """From a PIL image to a tensor in [0, 1]."""
        return import_torchvision().transforms.ToTensor()

    def prepare_data(self) -> None:
        if self.download and not self._present():
            print(f"Downloading {self.title} ({self.megabytes} MB) to {self.data_dir}")
            try:
                with patience():
                    for part in self.parts.values():
                        self.dataset_class()(self.data_dir, **part, download=True)
            except (OSError, RuntimeError) as error:
                reason = " ".join(str(error).split())[:160]
                raise OSError(
                    f"{self.title} cannot be fetched ({reason}): fetch it elsewhere with torchvision.datasets."
                    f"{self.dataset_class().__name__}, and set data_dir to the folder that holds it"
                ) from None

    def load(self, split: str) -> Dataset:
        self.require()
        if split in self.parts and (split == "test" or "val" in self.parts):
            return self.part(split, augmented=split == "train")
        return train_or_val(split, lambda augmented: self.part("train", augmented), self.val_size)

    def require(self) -> None:
        """Refuse to go on without the files."""
        if not self._present():
            raise FileNotFoundError(
                f"{self.title} not found in {self.data_dir}: set data_dir to the folder that holds it, "
                f"or download: true to fetch it ({self.megabytes} MB)"
            )

    def part(self, split: str, augmented: bool) -> Dataset:
        """torchvision's data set of a split that it has."""
        transform = self.train_transform() if augmented else self.eval_transform()
        return self.dataset_class()(self.data_dir, **self.parts[split], transform=transform)

    def _present(self) -> bool:
        try:
            for part in self.parts.values():
                self.dataset_class()(self.data_dir, **part)
        except (RuntimeError, FileNotFoundError):
            return False
        return True
