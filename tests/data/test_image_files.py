"""MNIST, CIFAR-10 and ImageNet, read from small files that the tests write in the data sets' own formats."""

import gzip
import pickle
import struct

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

from lightning_rs.data import CIFAR10, MNIST, ImageNet

RNG = np.random.default_rng(0)


def write_idx(path, array):
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    path.with_suffix("").write_bytes(header + array.tobytes())
    path.write_bytes(gzip.compress(header + array.tobytes()))


@pytest.fixture
def mnist(tmp_path):
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    images = {}
    for name, count in (("train", 50), ("t10k", 12)):
        images[name] = RNG.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        write_idx(raw / f"{name}-images-idx3-ubyte.gz", images[name])
        write_idx(raw / f"{name}-labels-idx1-ubyte.gz", (np.arange(count) % 10).astype(np.uint8))
    return tmp_path, images


@pytest.fixture
def cifar(tmp_path, monkeypatch):
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    images = RNG.integers(0, 256, (60, 3072), dtype=np.uint8)
    files = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
    for i, name in enumerate(files):
        rows = slice(10 * i, 10 * i + 10)
        (folder / name).write_bytes(pickle.dumps({"data": images[rows], "labels": list(range(10))}))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": [str(i) for i in range(10)]}))
    # The checksums are those of the published files; everything else is torchvision's reader as it is.
    monkeypatch.setattr(torchvision.datasets.cifar, "check_integrity", lambda path, md5=None: True)
    return tmp_path, images


def test_mnist(mnist):
    folder, images = mnist
    data = MNIST(str(folder), val_size=10)
    assert [len(data.dataset(split)) for split in ("train", "val", "test")] == [40, 10, 12]
    image, label = data.dataset("test")[3]
    assert label == 3
    assert torch.equal(image[0], torch.from_numpy(images["t10k"][3]).float() / 255)
    # Held out evenly: every fifth.
    assert torch.equal(data.dataset("val")[1][0][0], torch.from_numpy(images["train"][5]).float() / 255)


def test_cifar(cifar):
    folder, images = cifar
    data = CIFAR10(str(folder), val_size=10)
    assert [len(data.dataset(split)) for split in ("train", "val", "test")] == [40, 10, 10]
    image, label = data.dataset("test")[4]
    assert label == 4
    assert torch.equal(image, torch.from_numpy(images[54]).view(3, 32, 32).float() / 255)
    # Only training images are augmented.
    torch.manual_seed(0)
    assert not all(torch.equal(data.dataset("train")[0][0], data.dataset("train")[0][0]) for _ in range(5))
    assert torch.equal(data.dataset("val")[0][0], data.dataset("val")[0][0])


def test_imagenet(tmp_path):
    for split in ("train", "val"):
        for label in range(1000):
            folder = tmp_path / split / f"n{label:08d}"
            folder.mkdir(parents=True)
            colour = (label % 256, label // 256, 0)
            Image.new("RGB", (16, 12), colour).save(folder / "0.png")
    data = ImageNet(str(tmp_path), val_size=100)
    assert [len(data.dataset(split)) for split in ("train", "val", "test")] == [900, 100, 1000]
    image, label = data.dataset("test")[700]
    assert label == 700
    assert image.shape == (3, 224, 224)
    assert torch.allclose(image[:, 0, 0], torch.tensor([700 % 256, 700 // 256, 0]) / 255)
    assert data.dataset("train")[0][0].shape == (3, 224, 224)


def test_imagenet_with_other_classes(tmp_path):
    for split in ("train", "val"):
        (tmp_path / split / "only").mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(tmp_path / split / "only" / "0.png")
    with pytest.raises(ValueError, match="ImageNet has 1000 classes, .* has 1 folders"):
        ImageNet(str(tmp_path)).dataset("test")


@pytest.mark.parametrize(
    ("cls", "message"),
    [
        (MNIST, r"MNIST not found in .*: set data_dir .* or download: true to fetch it \(11 MB\)"),
        (CIFAR10, r"CIFAR-10 not found in .*: set data_dir .* or download: true to fetch it \(170 MB\)"),
        (ImageNet, r"ImageNet's val images not found at .*: set data_dir to the folder with"),
    ],
)
def test_missing_files_say_how_to_get_them(cls, message, tmp_path):
    with pytest.raises(FileNotFoundError, match=message):
        cls(str(tmp_path / "none")).dataset("test")
    assert not (tmp_path / "none").exists()
