"""Gaussian data augmentation: cross entropy of one noisy copy of every image."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional as F

from lightning_rs.objectives.base import SmoothingModule


def gaussian_loss(classifier: Callable[[Tensor], Tensor], x: Tensor, y: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Mean over the batch of -log softmax(f(x + noise))_y.

    Source: J. Cohen, E. Rosenfeld, J. Z. Kolter, "Certified Adversarial Robustness via Randomized Smoothing", 2019,
    Section 3.3; the augmentation is that of M. Lecuyer et al., "Certified Robustness to Adversarial Examples with
    Differential Privacy", 2018.

    Args:
        classifier: maps (rows, *shape) to logits (rows, classes).
        x: (rows, *shape) images.
        y: (rows,) int64 labels.
        noise: (rows, *shape) draws of N(0, sigma^2 I).

    Returns:
        The loss, a scalar, and the logits (rows, classes) of the noisy images.
    """
    logits = classifier(x + noise)
    return F.cross_entropy(logits, y), logits


class Gaussian(SmoothingModule):
    """Training under Gaussian noise, one draw an image and step: see `gaussian_loss`. Arguments: `SmoothingModule`."""

    def loss(self, x: Tensor, y: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        loss, logits = gaussian_loss(self, x, y, self.noise(x))
        return {"cross_entropy": loss}, logits
