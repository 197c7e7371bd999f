"""ImageNet: 224x224 colour images of 1,000 classes, from a folder of the user's."""

from __future__ import annotations

from pathlib import Path

from torch.utils.data import Dataset

from lightning_rs.data.base import ImageDataModule, require_folder, train_or_val
from lightning_rs.data.torchvision_data import import_torchvision


class ImageNet(ImageDataModule):
    """ILSVRC 2012, 3x224x224, from `data_dir`/train/<class>/* and `data_dir`/val/<class>/*.

    The published validation images are the `test` split, as in the literature; `val` is held out from the training
    images. Training images are cropped at random and flipped, others resized to 256 and cropped at the centre.

    Source: O. Russakovsky et al., "ImageNet Large Scale Visual Recognition Challenge", 2015.

    Args:
        data_dir: folder with `train` and `val`. It cannot be downloaded without an account at image-net.org.
        batch_size: images per training step and process.
        num_workers: processes that load images.
        val_size: training images held out for validation, evenly spaced.
    """

    num_classes = 1000
    shape = (3, 224, 224)
    mean = (0.485, 0.456, 0.406)
    std = (0.229, 0.224, 0.225)

    def __init__(
        self, data_dir: str = "datasets/imagenet", batch_size: int = 256, num_workers: int = 8, val_size: int = 1000
    ) -> None:
        super().__init__(batch_size, num_workers)
        self.data_dir = Path(data_dir).expanduser()
        self.val_size = val_size

    def load(self, split: str) -> Dataset:
        if split == "test":
            return self._folder("val", augmented=False)
        return train_or_val(split, lambda augmented: self._folder("train", augmented), self.val_size)

    def _folder(self, name: str, augmented: bool) -> Dataset:
        advice = "set data_dir to the folder with ImageNet's train and val, one folder per class in each"
        root = require_folder(self.data_dir / name, f"ImageNet's {name} images", advice)
        torchvision = import_torchvision()
        transforms = torchvision.transforms
        if augmented:
            steps = [transforms.RandomResizedCrop(224), transforms.RandomHorizontalFlip()]
        else:
            steps = [transforms.Resize(256), transforms.CenterCrop(224)]
        dataset = torchvision.datasets.ImageFolder(root, transforms.Compose([*steps, transforms.ToTensor()]))
        if len(dataset.classes) != self.num_classes:
            raise ValueError(f"ImageNet has {self.num_classes} classes, {root} has {len(dataset.classes)} folders")
        return dataset
