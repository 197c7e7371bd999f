"""Gaussian data augmentation: cross entropy of noisy copies of every image."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from lightning_rs.objectives.base import SmoothingModule
from lightning_rs.objectives.copies import log_probabilities


def gaussian_loss(logits: Tensor, y: Tensor, *, m: int = 1) -> dict[str, Tensor]:
    """Mean over the batch and the copies of

        cross_entropy = -log softmax(logits)_y

    Source: J. Cohen, E. Rosenfeld, J. Z. Kolter, "Certified Adversarial Robustness via Randomized Smoothing", 2019,
    Section 3.3; the augmentation is that of M. Lecuyer et al., "Certified Robustness to Adversarial Examples with
    Differential Privacy", 2018.

    Args:
        logits: (m * rows, classes) of the images under noise, first copies first.
        y: (rows,) int64 labels.
        m: copies of every image.

    Returns:
        The one part, a scalar.
    """
    return {"cross_entropy": F.nll_loss(log_probabilities(logits), y.repeat(m))}


class Gaussian(SmoothingModule):
    """Training under Gaussian noise, one draw an image and step: see `gaussian_loss`. Arguments: `SmoothingModule`."""

    def loss(self, x: Tensor, y: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        logits = self(x + self.noise(x))
        return gaussian_loss(logits, y), logits
