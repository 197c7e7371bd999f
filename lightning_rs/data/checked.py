"""Images as they are read: each is what it should be, or the error names it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.utils.data import Dataset

from lightning_rs.checks import check_at_least, shown


class ImageError(ValueError):
    """An image of a data set that cannot be read, or is not what it should be; the message names it.

    A loader makes an error of its worker again from the worker's whole traceback: its last line is the message.
    """

    def __init__(self, message: str) -> None:
        lines = message.strip().splitlines() or [""]
        super().__init__(lines[-1].removeprefix(f"{__name__}.{type(self).__name__}: "))


class CheckedImages(Dataset):
    """A data set of which every item is checked when it is read, see `read_image`.

    Args:
        dataset: index to (image, label).
        name: of the data set and its split, for messages.
        num_classes: number of classes.
        shape: of every image.
    """

    def __init__(self, dataset: Dataset, name: str, num_classes: int, shape: Sequence[int]) -> None:
        self.dataset, self.name, self.num_classes, self.shape = dataset, name, num_classes, tuple(shape)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[Tensor, Any]:
        if index >= len(self):
            raise IndexError(index)  # What ends a loop over it.
        return read_image(self.dataset, index, self.name, self.num_classes, self.shape)


def read_image(
    dataset: Dataset, index: int, name: str, num_classes: int, shape: Sequence[int] | None = None
) -> tuple[Tensor, Any]:
    """The image and the label at an index, as the data set gives them.

    Raises:
        ImageError: the data set fails, with its error as the cause; the image is not one of pixels in [0, 1], see
            `check_image`; or the label is no class.
    """
    try:
        image, label = dataset[index]
    except ImageError:
        raise
    except Exception as error:  # Decoders and users' data sets may raise anything.
        reason = f"{type(error).__name__}: {error}".strip().splitlines()[0]
        raise ImageError(f"{name} image {index} cannot be read: {reason}") from error
    try:
        check_image(image, shape)
        number = label.item() if isinstance(label, Tensor) and label.ndim == 0 else label
        if check_at_least("label", number, 0) >= num_classes:
            raise ValueError(f"label must be less than the number of classes, {num_classes}, got {shown(number)}")
    except ValueError as error:
        raise ImageError(f"{name} image {index}: {error}") from None
    return image, label


def check_image(image: Tensor, shape: Sequence[int] | None = None) -> None:
    """Refuse an image that is not a floating-point tensor of `shape` with pixels in [0, 1].

    Sigma and radii are in units of that range, so an image in [0, 255] or a normalised one would be certified for
    radii that mean something else.
    """
    if not (isinstance(image, Tensor) and image.is_floating_point()):
        raise ValueError(f"images must be floating-point tensors, got {getattr(image, 'dtype', type(image).__name__)}")
    if shape is not None and tuple(image.shape) != tuple(shape):
        raise ValueError(f"images must have the shape {tuple(shape)}, got {tuple(image.shape)}")
    if not image.numel():
        raise ValueError(f"images must have pixels, got the shape {tuple(image.shape)}")
    low, high = map(float, image.aminmax())
    if not (low >= 0.0 and high <= 1.0):
        raise ValueError(f"pixels must lie in [0, 1], got [{low:g}, {high:g}]")
