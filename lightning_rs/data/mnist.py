"""MNIST: 28x28 grey digits."""

from __future__ import annotations

from collections.abc import Callable

from torch.utils.data import Dataset

from lightning_rs.data.torchvision_data import TorchvisionDataModule, import_torchvision


class MNIST(TorchvisionDataModule):
    """Handwritten digits, 1x28x28: 60,000 training images, of which `val_size` are held out, and 10,000 test images.

    Source: Y. LeCun, C. Cortes, C. J. C. Burges, "The MNIST Database of Handwritten Digits", 1998.

    Args:
        data_dir: folder that holds, or will hold, the data set (torchvision's layout).
        batch_size: images per training step and process.
        num_workers: processes that load images.
        val_size: training images held out for validation, evenly spaced.
        download: fetch the data set (11 MB) when it is not there.
        on_device: hold the images as bytes on the device, and augment them there a batch at a time; nothing is loaded
            by processes then.
    """

    num_classes = 10
    shape = (1, 28, 28)
    mean = (0.1307,)
    std = (0.3081,)
    title = "MNIST"
    megabytes = 11

    def __init__(
        self,
        data_dir: str = "datasets",
        batch_size: int = 256,
        num_workers: int = 2,
        val_size: int = 500,
        download: bool = False,
        on_device: bool = False,
    ) -> None:
        super().__init__(data_dir, batch_size, num_workers, val_size, download, on_device)

    def dataset_class(self) -> Callable[..., Dataset]:
        return import_torchvision().datasets.MNIST
