"""CIFAR-10: 32x32 colour images."""

from __future__ import annotations

from collections.abc import Callable

from torch.utils.data import Dataset

from lightning_rs.data.torchvision_data import TorchvisionDataModule, import_torchvision
from lightning_rs.data.transforms import ImageSteps


class CIFAR10(TorchvisionDataModule):
    """Colour images, 3x32x32: 50,000 training images, of which `val_size` are held out, and 10,000 test images.

    Training images are cropped at random from a border of 4 and flipped at random. Mean and std are those of the
    randomized-smoothing literature's checkpoints.

    Source: A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009.

    Args:
        data_dir: folder that holds, or will hold, the data set (torchvision's layout).
        batch_size: images per training step and process.
        num_workers: processes that load images.
        val_size: training images held out for validation, evenly spaced.
        download: fetch the data set (170 MB) when it is not there.
        on_device: hold the images as bytes on the device, and augment them there a batch at a time; nothing is loaded
            by processes then.
    """

    num_classes = 10
    shape = (3, 32, 32)
    mean = (0.4914, 0.4822, 0.4465)
    std = (0.2023, 0.1994, 0.2010)
    title = "CIFAR-10"
    megabytes = 170
    steps = ImageSteps(augmentation="crop_flip", padding=4)

    def __init__(
        self,
        data_dir: str = "datasets",
        batch_size: int = 256,
        num_workers: int = 4,
        val_size: int = 500,
        download: bool = False,
        on_device: bool = False,
    ) -> None:
        super().__init__(data_dir, batch_size, num_workers, val_size, download, on_device)

    def dataset_class(self) -> Callable[..., Dataset]:
        return import_torchvision().datasets.CIFAR10

    def train_transform(self) -> Callable:
        transforms = import_torchvision().transforms
        return transforms.Compose([*self.image_steps("train"), transforms.ToTensor()])
