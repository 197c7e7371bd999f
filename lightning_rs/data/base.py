"""What all data sets share: their description, their splits, their loaders and the subset to certify."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pytorch_lightning import LightningDataModule
from torch.utils.data import DataLoader, Dataset, Subset

from lightning_rs.checks import check_at_least, check_flag, check_known, check_several, shown
from lightning_rs.data.checked import CheckedImages, read_image
from lightning_rs.data.on_device import ImagesOnDevice, as_it_is, check_on_device
from lightning_rs.data.transforms import ImageSteps
from lightning_rs.models import ImageFacts

SPLITS = ("train", "val", "test")


class ImageDataModule(LightningDataModule, ABC):
    """Images in [0, 1] with integer labels, in the splits `train`, `val` and `test`.

    `val` is held out from the training images; certificates that are published come from `test`. A subclass defines
    `load` and says the attributes: in the class, in `__init__`, or as properties that look at the images of `load`.

    Attributes:
        num_classes: number of classes.
        shape: (channels, height, width).
        mean, std: statistics of the training images per channel, in pixel units; the model normalises with them.
        levels: pixels are multiples of 1 / levels: 255 where they come from 8-bit files, however these are cropped or
            resized before they become floating-point numbers; None for images on no grid. Certificates for images on a
            grid hold for the program as it runs, others assume real arithmetic.
        classes: names of the classes in the order of their labels, if they have names.
        steps: how images are brought to size, and training images augmented, where `image_steps` is asked for them.

    Args:
        batch_size: images per training step and process.
        num_workers: processes that load images.
        on_device: hold the images as bytes on the device, and augment them there a batch at a time; nothing is loaded
            by processes then.
    """

    num_classes: int
    shape: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    levels: int | None = 255
    classes: Sequence[str] | None = None
    steps: ImageSteps = ImageSteps()

    def __init__(self, batch_size: int = 256, num_workers: int = 0, on_device: bool = False) -> None:
        super().__init__()
        self.save_hyperparameters()  # Those of subclasses too.
        self.batch_size = check_at_least("batch_size", batch_size, 1)
        self.num_workers = check_at_least("num_workers", num_workers, 0)
        self.on_device = check_flag("on_device", on_device)
        self._datasets: dict[str, Dataset] = {}
        self._held: dict[str, ImagesOnDevice] = {}

    @cached_property
    def facts(self) -> ImageFacts:
        """What the data module says of its images, checked.

        Raises:
            ValueError: it does not say one of them, or one is out of range.
        """
        said = {}
        for name in (field.name for field in fields(ImageFacts)):
            if not hasattr(self, name):
                raise ValueError(f"{type(self).__name__} does not say its {name}: set it in the class or in __init__")
            said[name] = getattr(self, name)
        try:
            return ImageFacts(**said)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{type(self).__name__}: {error}") from None

    def restore(self, facts: ImageFacts) -> None:
        """Take over the facts of a checkpoint, in the place of what would be learnt from the images again.

        Those that a class or its arguments say stand as they are.
        """

    @property
    def name(self) -> str:
        """The name of the class; of a user's own class its path."""
        cls = type(self)
        ours = cls.__module__.startswith("lightning_rs.")
        return cls.__name__ if ours else f"{cls.__module__}.{cls.__qualname__}"

    def called(self, split: str) -> str:
        """What records call the data set: images of another name are not certified into the same directory."""
        return self.name

    @abstractmethod
    def load(self, split: str) -> Dataset:
        """The data set of one split: index to (image tensor in [0, 1], int label)."""

    def dataset(self, split: str) -> Dataset:
        """The data set of `split`, loaded once, its first image checked; the loaders check every image as they read it.

        Raises:
            ValueError: an unknown split, none or an unreadable image, or one that is not what the facts say.
            FileNotFoundError: the files are not there; the message says how to get them.
        """
        check_known("split", split, SPLITS)
        if split not in self._datasets:
            dataset, facts = self.load(split), self.facts
            if not len(dataset):
                raise ValueError(f"{self.name} has no {split} images")
            # Reading all of a large data set would take minutes; the others are checked when their turn comes.
            read_image(dataset, 0, f"{self.name}, {split}", facts.num_classes, facts.shape)
            if self.on_device and split != "test":
                check_on_device(self.name, len(dataset), facts, self.steps)
            self._datasets[split] = dataset
        return self._datasets[split]

    def setup(self, stage: str) -> None:
        for split in {"fit": ("train", "val"), "validate": ("val",), "test": ("test",)}.get(stage, ()):
            self.dataset(split)

    def train_dataloader(self) -> DataLoader:
        return self._loader("train", shuffle=True, drop_last=len(self.dataset("train")) >= self.batch_size)

    def val_dataloader(self) -> DataLoader:
        return self._loader("val")

    def test_dataloader(self) -> DataLoader:
        return self._loader("test")

    def description(self) -> dict[str, Any]:
        """Name, arguments and facts, in plain values: enough to build the same data module again.

        Raises:
            ValueError: an argument that is not plain, which a checkpoint could not hold; or facts that are not said.
        """
        cls = type(self)
        takes = inspect.signature(cls).parameters
        init_args = {key: value for key, value in self.hparams.items() if key in takes}
        for key, value in init_args.items():
            if not _is_plain(value):
                raise ValueError(
                    f"{cls.__name__}'s {key} must be a text, a number or a list or dictionary of such, "
                    f"got a {type(value).__name__}"
                )
        return {"name": self.name, "init_args": init_args, "facts": self.facts.plain()}

    def image_steps(self, split: str) -> list[Callable[[Any], Any]]:
        """The steps of single images of a split; on a device, training images are augmented in batches instead."""
        steps = replace(self.steps, augmentation="none") if self.on_device else self.steps
        return steps.of(split, self.facts.shape)

    def _loader(self, split: str, **options: Any) -> DataLoader:
        dataset, facts = self.dataset(split), self.facts
        images = CheckedImages(dataset, f"{self.name}, {split}", facts.num_classes, facts.shape)
        if self.on_device and split != "test":  # Which is read once.
            return DataLoader(self._on_device(split, images), self.batch_size, collate_fn=as_it_is, **options)
        return DataLoader(
            images,
            batch_size=self.batch_size,
            num_workers=self.num_workers,
            # Workers that live on would carry augmentation's random state past the checkpoint of an epoch's end.
            persistent_workers=self.num_workers > 0 and split != "train",
            pin_memory=torch.cuda.is_available(),
            **options,
        )


    def _on_device(self, split: str, images: CheckedImages) -> ImagesOnDevice:
        device = torch.device("cpu") if self.trainer is None else self.trainer.strategy.root_device
        if split not in self._held:
            steps = self.steps if split == "train" else replace(self.steps, augmentation="none")
            self._held[split] = ImagesOnDevice(images, self.facts, steps, device)
        return self._held[split]


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_plain(item) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    return value is None or type(value) in (str, bool, int, float)


def certification_indices(
    size: int, skip: int = 1, limit: int | None = None, indices: Sequence[int] | None = None
) -> list[int]:
    """Indices of the examples to certify: every `skip`-th of a data set of `size`, at most `limit`, or those listed.

    Raises:
        ValueError: see `check_subset`; or an index outside the data set.
    """
    chosen = check_subset(skip, limit, indices)
    if chosen is None:
        return list(range(0, size, skip))[:limit]
    outside = [i for i in chosen if i >= size]
    if outside:
        raise ValueError(f"indices must be one or more in [0, {size - 1}], got {shown(outside)}")
    return chosen


def check_subset(skip: int = 1, limit: int | None = None, indices: Sequence[int] | None = None) -> list[int] | None:
    """Return the `indices`, if any, as integers if they, `skip` and `limit` can be a subset of a data set.

    Raises:
        ValueError: skip or limit below 1; no index, one twice or below 0; indices together with skip or limit.
    """
    check_at_least("skip", skip, 1)
    if limit is not None:
        check_at_least("limit", limit, 1)
    if indices is None:
        return None
    if skip != 1 or limit is not None:
        raise ValueError("give either indices, or skip and limit")
    given = check_several("indices", indices)
    try:
        chosen = [check_at_least("an index", index, 0) for index in given]
    except ValueError:
        chosen = []
    if not chosen:
        raise ValueError(f"indices must be one or more in [0, size of the data set), got {shown(given)}")
    if len(set(chosen)) < len(chosen):
        raise ValueError("indices must not repeat")
    return chosen


def held_out(size: int, count: int) -> tuple[list[int], list[int]]:
    """Indices of a data set of `size` that stay in training, and `count` evenly spaced ones that are held out."""
    if not 1 <= count < size:
        raise ValueError(f"val_size must lie in [1, {size - 1}], got {count}")
    out = np.arange(count, dtype=np.int64) * size // count
    stay = np.setdiff1d(np.arange(size), out)
    return stay.tolist(), out.tolist()


def train_or_val(split: str, build: Callable[[bool], Dataset], val_size: int) -> Subset:
    """`train` or `val` of a data set whose training images come from `build(augmented)`."""
    dataset = build(split == "train")
    stay, out = held_out(len(dataset), val_size)
    return Subset(dataset, stay if split == "train" else out)


def require_folder(path: Path, what: str, advice: str) -> Path:
    """Return `path` if it is a folder; otherwise one line that says what is missing and how to get it."""
    if not path.is_dir():
        raise FileNotFoundError(f"{what} not found at {path}: {advice}")
    return path
