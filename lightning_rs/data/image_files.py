"""Image files in folders of classes: listed, looked at before anything is trained, and decoded."""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
import torch
from PIL import ExifTags, Image, ImageOps
from torch import Tensor
from torch.utils.data import Dataset

from lightning_rs.data.checked import ImageError
from lightning_rs.progress import progress

S = TypeVar("S")
T = TypeVar("T")
DEEP = 65535
"""Levels of 16-bit images. Those of 8 bits lie on the same grid: 65535 = 255 * 257."""

_AHEAD = 64  # Items that threads are ahead by: all of a data set's images would not fit into memory.
_MANY = 1000  # Items from which there is a progress bar.
_SHOWN = 3


def class_folders(folder: Path, least: int = 1) -> list[str]:
    """Names of the folders in a folder, sorted; hidden ones and files beside them do not count.

    Raises:
        ValueError: fewer than `least`.
    """
    names = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith("."))
    if len(names) < least:
        found = f"only {names[0]!r}" if names else "none"
        raise ValueError(f"{folder} must hold a folder of images for each of two or more classes; it holds {found}")
    return names


def files_of_class(folder: Path, name: str) -> list[str]:
    """The files of a class, in folders of folders too, sorted: `name/...` with slashes. Hidden ones do not count.

    Raises:
        OSError: one of the folders cannot be listed.
        ValueError: there are none; or a link leads to a folder once more.
    """
    files, seen = [], set()
    for place, folders, held in os.walk(folder / name, onerror=_fail, followlinks=True):
        if (real := os.path.realpath(place)) in seen:
            raise ValueError(f"{place} is a link to {real}, whose images are in this class already")
        seen.add(real)
        folders[:] = [inner for inner in folders if not inner.startswith(".")]
        within = Path(place).relative_to(folder).as_posix()
        files += [f"{within}/{file}" for file in held if not file.startswith(".")]
    if not files:
        raise ValueError(f"{folder / name} is a class folder without images")
    return sorted(files)


def _fail(error: OSError) -> None:
    raise error


def place_of(name: str) -> float:
    """A number in [0, 1) that depends on the text alone: by it a file's split is chosen, whatever others there are."""
    return int.from_bytes(hashlib.sha256(os.fsencode(name)).digest()[:8], "big") / 2.0**64


@dataclass
class Headers:
    """What the headers of image files say, of each thing the first file that says it.

    Attributes:
        sizes: (height, width) to the name of a file.
        deep: the name of a file of 16 bits; None if there is none.
    """

    sizes: dict[tuple[int, int], str]
    deep: str | None


def look_at(folder: Path, names: Sequence[str], title: str) -> Headers:
    """Read the header of every file, without decoding it.

    Raises:
        ValueError: files that are no images, the first of them named.
    """
    headers, bad = Headers({}, None), []
    for name, said in zip(names, in_threads(lambda name: _header(folder / name), names, title), strict=True):
        if isinstance(said, ImageError):
            bad.append(str(said))
        else:
            size, deep = said
            headers.sizes.setdefault(size, name)
            headers.deep = headers.deep or (name if deep else None)
    if bad:
        more = f"; and {len(bad) - _SHOWN} more" if len(bad) > _SHOWN else ""
        raise ValueError("; ".join(bad[:_SHOWN]) + more)
    return headers


def _header(path: Path) -> tuple[tuple[int, int], bool] | ImageError:
    try:
        with Image.open(path) as image:
            _check_kind(image)
            size = image.height, image.width
            if "exif" in image.info and image.getexif().get(ExifTags.Base.Orientation, 1) > 4:
                size = size[::-1]
            return size, _is_deep(image)
    except Exception as error:  # Readers of headers may raise anything.
        return _unreadable(path, error)


def read_file(path: Path, channels: int, file: BinaryIO | None = None) -> Image.Image:
    """A decoded image, upright: of 16 bits in PIL's mode `I`, else in `RGB` or, of one channel, in `L`.

    Args:
        path: of the file, or its name alone.
        channels: 1 or 3.
        file: its content, where it lies in another one.

    Raises:
        ImageError: it cannot be decoded; the message names it.
    """
    try:
        with Image.open(file or path) as image:
            _check_kind(image)
            ImageOps.exif_transpose(image, in_place=True)
            if not _is_deep(image):
                return image.convert("L" if channels == 1 else "RGB")
            low, high = (deep := image.convert("I")).getextrema()
            if low < 0 or high > DEEP:
                raise ValueError(f"its pixels must have 16 bits, and lie in [{low}, {high}]")
            return deep
    except Exception as error:  # Decoders may raise anything.
        raise _unreadable(path, error) from None


def as_pixels(image: Image.Image, channels: int) -> Tensor:
    """A tensor in [0, 1] of a decoded image: multiples of 1/255, or of 1/65535 if it has 16 bits."""
    pixels = torch.from_numpy(np.array(image))
    if image.mode == "I":
        return pixels.float().div(DEEP).expand(channels, -1, -1).contiguous()
    return (pixels.unsqueeze(0) if pixels.ndim == 2 else pixels.permute(2, 0, 1)).float().div(255.0).contiguous()


class ImageFiles(Dataset):
    """Image files as pixels in [0, 1], and their labels.

    Args:
        folder: that the names are relative to.
        names: of the files.
        labels: of the files.
        channels: 1 or 3.
        steps: from a PIL image to one of the size wanted.
    """

    def __init__(
        self, folder: Path, names: Sequence[str], labels: Sequence[int], channels: int, steps: Sequence[Callable]
    ) -> None:
        self.folder, self.names, self.labels, self.channels, self.steps = folder, names, labels, channels, steps

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image: Any = read_file(self.folder / self.names[index], self.channels)
        for step in self.steps:
            image = step(image)
        return as_pixels(image, self.channels), self.labels[index]


def in_threads(function: Callable[[S], T], items: Iterable[S], title: str) -> Iterator[T]:
    """`map` in several threads, in order, with a progress bar: files are waited for, and decoded outside of Python."""
    items = list(items)
    rest = iter(items)
    with ThreadPoolExecutor() as threads, progress(len(items), title, "image", len(items) > _MANY, False) as bar:
        waiting = deque(threads.submit(function, item) for item in islice(rest, _AHEAD))
        while waiting:
            yield waiting.popleft().result()
            waiting.extend(threads.submit(function, item) for item in islice(rest, 1))
            bar.update()


def _check_kind(image: Image.Image) -> None:
    if image.format == "EPS":
        raise ValueError("it is a program of PostScript, which would be run")
    if image.mode == "F":
        raise ValueError("it has floating-point pixels")


def _is_deep(image: Image.Image) -> bool:
    return image.mode.startswith("I")


def _unreadable(path: Path, error: Exception) -> ImageError:
    reason = "it is no image" if isinstance(error, Image.UnidentifiedImageError) else str(error) or type(error).__name__
    return ImageError(f"{path} cannot be read: {' '.join(reason.split())[:200]}")
