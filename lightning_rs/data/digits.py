"""UCI optical digits: 1,797 real 8x8 images that come with scikit-learn, so nothing is downloaded."""

from __future__ import annotations

import numpy as np
import torch
from torch.utils.data import TensorDataset

from lightning_rs.data.base import ImageDataModule


class Digits(ImageDataModule):
    """Handwritten digits, 1x8x8, pixels 0..16 scaled to [0, 1].

    The split is fixed and stratified: of the images of each class, in the data set's order, the first of every five
    goes to test (364), the second to val (362) and the others to train (1,071).

    Source: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository,
    1998 (its test part), as bundled with scikit-learn.

    Args:
        batch_size: images per training step and process.
        num_workers: processes that load images.
        on_device: hold the images as bytes on the device, and augment them there a batch at a time; nothing is loaded
            by processes then.
    """

    num_classes = 10
    shape = (1, 8, 8)
    mean = (0.3061,)
    std = (0.3765,)
    levels = 16

    def __init__(self, batch_size: int = 64, num_workers: int = 0, on_device: bool = False) -> None:
        super().__init__(batch_size, num_workers, on_device)

    def load(self, split: str) -> TensorDataset:
        from sklearn.datasets import load_digits

        digits = load_digits()
        position = np.empty(len(digits.target), dtype=np.int64)
        for label in range(self.num_classes):
            of_class = np.flatnonzero(digits.target == label)
            position[of_class] = np.arange(len(of_class)) % 5
        rows = {"test": position == 0, "val": position == 1, "train": position >= 2}[split]
        images = torch.from_numpy(digits.images[rows]).float().div(16.0).unsqueeze(1)
        return TensorDataset(images, torch.from_numpy(digits.target[rows]).long())
