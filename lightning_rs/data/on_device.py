"""Images that fit into memory, held on the device as bytes and augmented there a batch at a time."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset

from lightning_rs.data.checked import CheckedImages, ImageError
from lightning_rs.data.image_files import in_threads
from lightning_rs.data.transforms import BATCHED, ImageSteps
from lightning_rs.models import ImageFacts
from lightning_rs.smoothing.capacity import available_memory

# Of a pixel in [0, 1] that was computed in float32.
_ROUNDING = 2.0**-20


class ImagesOnDevice(Dataset):
    """A data set as bytes on a device; a loader gets whole batches of it, augmented by `crop` and `flip`.

    Without augmentation the batches are those of the data set itself, pixel for pixel. Which images, places and mirror
    images make a batch is drawn from torch's global generator of the CPU, whatever the device, so that a training that
    is resumed goes on with the draws that it would have made; they reach the device in one transfer.

    Args:
        images: without augmentation.
        facts: of the images.
        steps: how training images are augmented.
        device: that holds them.

    Raises:
        ValueError: see `check_on_device`; or an image whose pixels are no multiples of 1 / levels.
    """

    def __init__(self, images: CheckedImages, facts: ImageFacts, steps: ImageSteps, device: torch.device) -> None:
        check_on_device(images.name, len(images), facts, steps, device)
        self._levels, self._device, (_, self._height, self._width) = facts.levels, device, facts.shape
        self._border = steps.padding if "crop" in steps.augmentation else 0
        self._flips = "flip" in steps.augmentation
        pixels = torch.empty((len(images), *facts.shape), dtype=torch.uint8)
        labels = torch.empty(len(images), dtype=torch.int64)
        title = f"Images of {images.name}"
        for i, (image, label) in enumerate(in_threads(images.__getitem__, range(len(images)), title)):
            pixels[i], labels[i] = (image * self._levels).round(), int(label)
            if float((pixels[i] / self._levels - image).abs().max()) > _ROUNDING:
                raise ImageError(f"{images.name} image {i}: pixels are no multiples of 1/{self._levels}")
        # Channels last: all channels of a pixel are picked at once.
        self._pixels = F.pad(pixels, (self._border,) * 4).permute(0, 2, 3, 1).contiguous().to(device)
        self._labels = labels.to(device)
        self._rows, self._columns = (torch.arange(side, device=device) for side in (self._height, self._width))

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        x, y = self.__getitems__([index])
        return x[0], y[0]

    def __getitems__(self, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        """The batch (rows, *shape) of these images, and their labels (rows,)."""
        zeros = torch.zeros(len(indices), dtype=torch.int64)
        top, left, flip = zeros, zeros, zeros
        if self._border:
            top, left = torch.randint(2 * self._border + 1, (2, len(indices)))
        if self._flips:
            flip = torch.randint(2, (len(indices),))
        drawn = torch.stack([torch.tensor(indices), top, left, flip])
        drawn = drawn.pin_memory() if self._device.type == "cuda" else drawn
        chosen, top, left, flip = drawn.to(self._device, non_blocking=True)[:, :, None]
        columns = torch.where(flip.bool(), self._width - 1 - self._columns, self._columns) + left
        batch = self._pixels[chosen[:, :, None], (self._rows + top)[:, :, None], columns[:, None, :]]
        x = batch.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)
        return x.div_(self._levels), self._labels[chosen[:, 0]]


def as_it_is(batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """What a loader makes of a batch that is whole already."""
    return batch


def check_on_device(
    name: str, rows: int, facts: ImageFacts, steps: ImageSteps, device: torch.device | None = None
) -> None:
    """Refuse images that cannot be held as bytes, or do not fit, and augmentations that take images one by one.

    Args:
        name: of the data set, for messages.
        rows: number of its images.
        facts, steps: of the images.
        device: that shall hold them; when left out wherever there is most room.

    Raises:
        ValueError: says which, and what to change.
    """
    advice = "leave on_device out"
    if steps.augmentation not in BATCHED:
        raise ValueError(f"on_device augments by {', '.join(BATCHED)}, got {steps.augmentation}: {advice}")
    if facts.levels is None or facts.levels > 255:
        levels = "on no grid" if facts.levels is None else f"multiples of 1/{facts.levels}"
        raise ValueError(f"on_device holds images as bytes, and the pixels of {name} are {levels}: {advice}")
    channels, height, width = facts.shape
    border = 2 * steps.padding if "crop" in steps.augmentation else 0
    # They are read into the host's memory, and padded there.
    needed = rows * channels * (math.prod((height, width)) + math.prod((height + border, width + border)))
    if needed > (available := available_memory(device)):
        raise ValueError(
            f"on_device needs {needed >> 20} MiB for {rows} images of {name}, and {int(available) >> 20} MiB are "
            f"available: {advice}"
        )
