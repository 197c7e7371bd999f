"""Data sets whose facts are learnt from their images, once; a checkpoint keeps them."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from lightning_rs.data.base import ImageDataModule, held_out
from lightning_rs.models import ImageFacts

MOST_FOR_STATISTICS = 10_000
"""Images from which mean and std are learnt: all, or this many evenly spaced ones, which tell three digits."""

_FOR_DIGEST = 32


class LearnedDataModule(ImageDataModule):
    """Images that say their facts themselves: a subclass defines `learn` and `load`.

    `learn` looks at the training images, and is asked once, when the facts are first needed. A module that is built for
    a checkpoint never asks it: there the facts are those of the training.
    """

    num_classes = property(lambda self: self.facts.num_classes)
    shape = property(lambda self: self.facts.shape)
    mean = property(lambda self: self.facts.mean)
    std = property(lambda self: self.facts.std)
    levels = property(lambda self: self.facts.levels)
    classes = property(lambda self: self.facts.classes)

    @abstractmethod
    def learn(self) -> ImageFacts:
        """The facts, from the images.

        Raises:
            ValueError: images that cannot be trained on, named.
            FileNotFoundError: there are none.
        """

    @cached_property
    def facts(self) -> ImageFacts:
        try:
            return self.learn()
        except TypeError as error:
            raise ValueError(f"{self.name}: {error}") from None

    def called(self, split: str) -> str:
        """The name with a digest of some images, since two folders of one name may hold different ones."""
        if split == "train":
            return self.name  # Augmented images are others every time, and reading them would draw.
        dataset = self.dataset(split)
        digest = hashlib.sha256(str(len(dataset)).encode())
        for i in evenly_spaced(len(dataset), _FOR_DIGEST):
            image, label = dataset[i]
            digest.update(f"{label} {tuple(image.shape)}".encode() + image.numpy().tobytes())
        return f"{self.name}-{digest.hexdigest()[:8]}"

    def restore(self, facts: ImageFacts) -> None:
        self.__dict__["facts"] = facts  # What a cached property would have been given.


def evenly_spaced(size: int, most: int) -> range | list[int]:
    """All indices of a data set of `size`, or `most` evenly spaced ones."""
    return range(size) if size <= most else [i * size // most for i in range(most)]


def held_out_of_classes(labels: Sequence, count: int) -> tuple[list[int], list[int]]:
    """As `held_out`, of each class its share: images may take turns, which evenly spaced ones would all be of one.

    Args:
        labels: of all images, numbers or texts.
        count: of the images that are held out.
    """
    by_class = np.argsort(np.asarray(labels), kind="stable")
    stay, out = held_out(len(by_class), count)
    return sorted(by_class[stay].tolist()), sorted(by_class[out].tolist())


def pixel_statistics(images: Iterable[Tensor], name: str) -> tuple[Sequence[float], Sequence[float]]:
    """Mean and standard deviation of the pixels of each channel, over images of one shape, one at a time.

    Raises:
        ValueError: all pixels of a channel are the same; the message names the data set.
    """
    count, total, squares = 0, torch.zeros(()), torch.zeros(())
    for image in images:
        pixels = image.double().flatten(1)
        count, total, squares = count + 1, total + pixels.mean(1), squares + pixels.square().mean(1)
    mean = total / count
    std = (squares / count - mean.square()).clamp(min=0).sqrt()
    if not (std > 1e-6).all():
        raise ValueError(f"{name}: all pixels of a channel are the same, {mean.tolist()}: no net learns from them")
    # Six digits are more than a net tells apart.
    return [round(m, 6) for m in mean.tolist()], [round(s, 6) for s in std.tolist()]
