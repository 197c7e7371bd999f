"""Small files in the formats of MNIST, CIFAR-10 and ImageNet, with random or given pixels."""

from __future__ import annotations

import gzip
import pickle
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torchvision
from PIL import Image


def write_mnist(folder: Path, generator: np.random.Generator, train: int, test: int) -> dict[str, np.ndarray]:
    """MNIST with so many images, whose labels count from 0 to 9 and again; returns those of `train` and of `t10k`."""
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    images = {}
    for name, count in (("train", train), ("t10k", test)):
        images[name] = generator.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        for kind, array in (("images-idx3", images[name]), ("labels-idx1", (np.arange(count) % 10).astype(np.uint8))):
            content = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()
            (raw / f"{name}-{kind}-ubyte").write_bytes(content)
            (raw / f"{name}-{kind}-ubyte.gz").write_bytes(gzip.compress(content))
    return images


def write_cifar(folder: Path, generator: np.random.Generator, rows: int) -> np.ndarray:
    """CIFAR-10 with `rows` images in each of its six files, the last of which is the test; returns all in order."""
    folder = folder / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    images = generator.integers(0, 256, (6, rows, 3072), dtype=np.uint8)
    names = (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch")
    for name, of_file in zip(names, images, strict=True):
        (folder / name).write_bytes(pickle.dumps({"data": of_file, "labels": (np.arange(rows) % 10).tolist()}))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": [str(i) for i in range(10)]}))
    return images.reshape(-1, 3072)


def accept_checksums(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of CIFAR-10 are the published files'; everything else is torchvision's reader as it is."""
    monkeypatch.setattr(torchvision.datasets.cifar, "check_integrity", lambda path, md5=None: True)


def write_imagenet(folder: Path, pixels: Callable[[int], np.ndarray], seconds: int = 0) -> None:
    """ImageNet with an image of `pixels(label)` in each class, and a second for training in the first `seconds`."""
    for split in ("train", "val"):
        for label in range(1000):
            (folder / split / f"n{label:08d}").mkdir(parents=True)
            for i in range(2 if split == "train" and label < seconds else 1):
                Image.fromarray(pixels(label)).save(folder / split / f"n{label:08d}" / f"{i}.png")
