"""A user's own images as arrays in files of NumPy, torch or safetensors."""

from __future__ import annotations

import pickle
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor
from torch.utils.data import Dataset, Subset

from lightning_rs.checks import check_inside, shown
from lightning_rs.data.base import SPLITS
from lightning_rs.data.learned import (
    MOST_FOR_STATISTICS,
    LearnedDataModule,
    evenly_spaced,
    held_out_of_classes,
    pixel_statistics,
)
from lightning_rs.data.transforms import Augmentation, ImageSteps
from lightning_rs.models import ImageFacts

_GRIDS = (1, 15, 16, 255, 65535)
_SCALES = {torch.bool: 1, torch.uint8: 255, torch.uint16: 65535}
_SUFFIXES = (".npy", ".npz", ".pt", ".pth", ".safetensors")


class Arrays(LearnedDataModule):
    """Images and labels from arrays `train_images`, `train_labels`, `test_images`, ..., or `x_train`, `y_train`, ...

    They lie in one file, or in a folder as `train_images.npy`, ... or as `images` and `labels` of `train.npz`, ...
    Without those of `val`, validation images are held out from the training images, of each class its share and evenly
    spaced; with `test_fraction`, arrays `images` and `labels` are split in three in this way. Nothing in the files is
    run.

    Images are NHW, NCHW or NHWC with 1 or 3 channels: truth values, 8 or 16 bits, or floating-point numbers in [0, 1].
    Levels are the least of 1, 15, 16, 255 and 65,535 on whose grid the images of all splits lie, or none: 255 and
    65,535 of 8 and 16 bits. Labels are integers from 0 on.

    Args:
        path: a file (.npz, .pt, .safetensors), or a folder of such or of .npy.
        augmentation: of training images; see `lightning_rs.data.transforms`.
        padding: width of the border from which `crop` cuts.
        val_fraction: share of the validation images, where there are no arrays of them.
        test_fraction: share of the test images of arrays that are not split.
        batch_size: images per training step and process.
        num_workers: processes that load images.
        on_device: hold the images as bytes on the device, and augment them there a batch at a time; nothing is loaded
            by processes then.
    """

    def __init__(
        self,
        path: str,
        augmentation: Augmentation = "none",
        padding: int = 4,
        val_fraction: float = 0.1,
        test_fraction: float | None = None,
        batch_size: int = 256,
        num_workers: int = 0,
        on_device: bool = False,
    ) -> None:
        super().__init__(batch_size, num_workers, on_device)
        self.path = Path(path).expanduser()
        self.steps = ImageSteps(augmentation=augmentation, padding=padding)
        self.val_fraction = check_inside("val_fraction", val_fraction)
        self.test_fraction = None if test_fraction is None else check_inside("test_fraction", test_fraction)
        self._arrays: dict[str, Tensor] = {}

    def learn(self) -> ImageFacts:
        images, labels, rows = self._of("train" if self._has("train") or not self._has("test") else "test")
        levels = _grid([array for array in self._read().values() if array.ndim > 2])
        some = (_as_pixels(images[rows[i]]) for i in evenly_spaced(len(rows), MOST_FOR_STATISTICS))
        mean, std = pixel_statistics(some, str(self.path))
        return ImageFacts(max(labels) + 1, tuple(images.shape[1:]), mean, std, levels)

    def load(self, split: str) -> Dataset:
        images, labels, rows = self._of(split)
        return Subset(_Images(images, labels, self.image_steps(split)), rows)

    def _has(self, split: str) -> bool:
        return any(key in self._read() for key in _keys(split, "images"))

    def _of(self, split: str) -> tuple[Tensor, list[int], Sequence[int]]:
        """Images as NCHW and labels of the arrays that hold a split, and its rows in them.

        Raises:
            ValueError: there are none, or they do not go together.
            FileNotFoundError: no such file or folder.
        """
        held = self._read()
        prefix, divided = split, True
        if self.test_fraction is not None:
            prefix = ""
        elif split != "test" and not self._has("val"):
            prefix = "train"
        else:
            divided = False
        found = [next((key for key in _keys(prefix, kind) if key in held), None) for kind in ("images", "labels")]
        if None in found:
            expected = " and ".join(_keys(prefix, kind)[0] for kind in ("images", "labels"))
            advice = "" if prefix not in ("train", "test") else ", or images and labels with test_fraction"
            names = ", ".join(sorted(held)) or "none"
            raise ValueError(f"{self.path} must hold arrays {expected}{advice}; it holds {names}")
        images, labels = _channels_first(held[found[0]], found[0]), held[found[1]]
        labels = labels.squeeze(1) if labels.ndim == 2 and labels.shape[1] == 1 else labels
        if labels.ndim != 1 or labels.is_floating_point() or len(labels) != len(images) or not len(labels):
            raise ValueError(
                f"{self.path}: {found[1]} must be {len(images)} integers, one for each image and at least one, got "
                f"{str(labels.dtype).removeprefix('torch.')} of the shape {tuple(labels.shape)}"
            )
        numbers = labels.long().tolist()
        return images, numbers, self._rows(split, numbers) if divided else range(len(numbers))

    def _rows(self, split: str, labels: Sequence[int]) -> list[int]:
        stay = list(range(len(labels)))
        for other, share in (("test", self.test_fraction), ("val", self.val_fraction)):
            if share is not None:
                held = max(1, round(share * len(labels)))
                left, out = held_out_of_classes([labels[i] for i in stay], held)
                if other == split:
                    return [stay[i] for i in out]
                stay = [stay[i] for i in left]
        return stay

    def _read(self) -> dict[str, Tensor]:
        if not self._arrays:
            if not self.path.exists():
                raise FileNotFoundError(
                    f"no arrays at {self.path}: set path to a file (.npz, .pt, .safetensors) with train_images, "
                    "train_labels, test_images and test_labels, or to a folder of such files or of .npy"
                )
            files = [self.path]
            if self.path.is_dir():
                files = sorted(file for file in self.path.iterdir() if file.suffix in _SUFFIXES)
            for file in files:
                prefix = f"{file.stem}_" if self.path.is_dir() and file.stem in SPLITS else ""
                self._arrays |= {prefix + key: array for key, array in _read(file).items()}
        return self._arrays


class _Images(Dataset):
    def __init__(self, images: Tensor, labels: Sequence[int], steps: Sequence[Callable]) -> None:
        self.images, self.labels, self.steps = images, labels, steps

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image = _as_pixels(self.images[index])
        for step in self.steps:
            image = step(image)
        # An interpolated pixel may be rounded to beyond 1.
        return image.clamp(0.0, 1.0) if self.steps else image, self.labels[index]


def _keys(prefix: str, kind: str) -> tuple[str, ...]:
    if not prefix:
        return (kind,)
    return (f"{prefix}_{kind}", f"{'x' if kind == 'images' else 'y'}_{prefix}")


def _read(path: Path) -> dict[str, Tensor]:
    """The arrays in a file as tensors.

    Raises:
        ValueError: a file of another form, a damaged one, or one that would have to run code.
    """
    if path.suffix not in _SUFFIXES:
        raise ValueError(f"{path} must end in one of {', '.join(_SUFFIXES)}")
    try:
        if path.suffix == ".safetensors":
            content: Any = safetensors.torch.load_file(path)
        elif path.suffix in (".pt", ".pth"):
            content = torch.load(path, map_location="cpu", weights_only=True)
        else:
            content = {key: torch.from_numpy(_native(array)) for key, array in _numpy(path).items()}
    except pickle.UnpicklingError:
        raise ValueError(f"{path} holds more than tensors, and is not loaded: it could run code") from None
    except (
        ValueError,
        TypeError,
        RuntimeError,
        KeyError,
        EOFError,
        zipfile.BadZipFile,
        zlib.error,
        safetensors.SafetensorError,
    ) as e:
        raise ValueError(f"{path} cannot be read as arrays: {' '.join(str(e).split())[:200]}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path} must hold a dictionary of tensors, got a {type(content).__name__}")
    for key, value in content.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise ValueError(f"{path} must hold tensors by name, got a {type(value).__name__} as {shown(key)}")
    return content


def _numpy(path: Path) -> dict[str, np.ndarray]:
    """The arrays in a file by name; a single one goes by the file's."""
    held = np.load(path, allow_pickle=False)
    if isinstance(held, np.ndarray):
        return {path.stem: held}
    with held:
        return dict(held)


def _native(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))


def _channels_first(images: Tensor, name: str) -> Tensor:
    if images.dtype not in _SCALES and not images.is_floating_point():
        kind = str(images.dtype).removeprefix("torch.")
        raise ValueError(f"{name} must be bool, uint8, uint16 or floating-point in [0, 1], got {kind}")
    if images.ndim == 3:
        return images.unsqueeze(1)
    first, last = (images.ndim == 4 and images.shape[axis] in (1, 3) for axis in (1, -1))
    if first == last:
        raise ValueError(f"{name} must be NHW, NCHW or NHWC with 1 or 3 channels, got the shape {tuple(images.shape)}")
    return images if first else images.permute(0, 3, 1, 2)


def _as_pixels(image: Tensor) -> Tensor:
    return image.float().div(_SCALES.get(image.dtype, 1)).contiguous()


def _grid(arrays: Sequence[Tensor]) -> int | None:
    """The least levels on whose grid all pixels lie, but for the rounding of float32. Integers lie on their own."""

    def lies_on(array: Tensor, levels: int) -> bool:
        if array.dtype in _SCALES:
            return levels % _SCALES[array.dtype] == 0
        scaled = (image.double() * levels for image in array)  # One by one: all would take twice the memory.
        return all(bool(((image - image.round()).abs() <= levels * 2.0**-22).all()) for image in scaled)

    return next((levels for levels in _GRIDS if all(lies_on(array, levels) for array in arrays)), None)
