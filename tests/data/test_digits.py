import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from lightning_rs.data import SPLITS, Digits


def test_splits_are_disjoint_stratified_and_complete():
    digits = Digits()
    sizes = {split: len(digits.dataset(split)) for split in SPLITS}
    assert sizes == {"train": 1071, "val": 362, "test": 364}
    images = np.concatenate([digits.dataset(split).tensors[0].numpy() for split in SPLITS])
    original = load_digits().images / 16.0
    assert sorted(map(bytes, images.reshape(1797, -1))) == sorted(map(bytes, original.reshape(1797, -1).astype("f4")))
    for split in SPLITS:
        counts = np.bincount(digits.dataset(split).tensors[1].numpy(), minlength=10)
        assert counts.max() - counts.min() <= 6


def test_images_and_statistics():
    images, labels = Digits().dataset("train").tensors
    assert images.dtype == torch.float32
    assert images.shape[1:] == (1, 8, 8)
    assert (float(images.min()), float(images.max())) == (0.0, 1.0)
    assert labels.dtype == torch.int64
    assert float(images.mean()) == pytest.approx(Digits.mean[0], abs=5e-5)
    assert float(images.std()) == pytest.approx(Digits.std[0], abs=5e-5)


def test_description_rebuilds_it():
    digits = Digits(batch_size=32)
    assert digits.description() == {
        "name": "Digits",
        "init_args": {"batch_size": 32, "num_workers": 0, "on_device": False},
        "facts": {"num_classes": 10, "shape": [1, 8, 8], "mean": [0.3061], "std": [0.3765]}
        | {"levels": 16, "classes": None},
    }
