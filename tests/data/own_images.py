"""A user's own images, made for tests: the digits 0, 1 and 2 as files in folders of classes, and as arrays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

NAMES = ("nought", "one", "two")  # Sorted, as folders are.


def digit_arrays(count: int, start: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """`count` images of each class as 8-bit arrays of 8x8, and their labels: class after class."""
    digits = load_digits()
    rows = [np.flatnonzero(digits.target == label)[start : start + count] for label in range(len(NAMES))]
    images = (digits.images[np.concatenate(rows)] * 15).astype(np.uint8)
    return images, np.repeat(np.arange(len(NAMES)), count)


def write_classes(folder: Path, count: int, start: int = 0) -> Path:
    """`count` images of each class as `folder`/CLASS/NUMBER.png; returns the folder."""
    for i, (image, label) in enumerate(zip(*digit_arrays(count, start), strict=True)):
        (folder / NAMES[label]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / NAMES[label] / f"{start + i % count:03d}.png")
    return folder


def write_folders(root: Path, train: int = 20, test: int = 4) -> Path:
    """`root`/train and `root`/test with so many images of each class; returns `root`."""
    write_classes(root / "train", train)
    write_classes(root / "test", test, start=train)
    return root
