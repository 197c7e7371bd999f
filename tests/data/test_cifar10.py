import numpy as np
import pytest
import torch
from data.stand_ins import accept_checksums, write_cifar

from lightning_rs.data import CIFAR10


def test_images_splits_and_augmentation(tmp_path, monkeypatch):
    images = write_cifar(tmp_path, np.random.default_rng(0), rows=10)
    accept_checksums(monkeypatch)
    data = CIFAR10(str(tmp_path), val_size=10)
    assert [len(data.dataset(split)) for split in ("train", "val", "test")] == [40, 10, 10]
    image, label = data.dataset("test")[4]
    assert label == 4
    assert torch.equal(image, torch.from_numpy(images[54]).view(3, 32, 32).float() / 255)
    # Only training images are augmented.
    torch.manual_seed(0)
    assert not all(torch.equal(data.dataset("train")[0][0], data.dataset("train")[0][0]) for _ in range(5))
    assert torch.equal(data.dataset("val")[0][0], data.dataset("val")[0][0])


def test_missing_files_say_how_to_get_them(tmp_path):
    message = r"CIFAR-10 not found in .*: set data_dir .* or download: true to fetch it \(170 MB\)"
    with pytest.raises(FileNotFoundError, match=message):
        CIFAR10(str(tmp_path / "none")).dataset("test")
    assert not (tmp_path / "none").exists()
