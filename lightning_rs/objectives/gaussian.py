"""Gaussian data augmentation: cross entropy of noisy copies of every image."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from lightning_rs.checks import check_not_negative
from lightning_rs.objectives.base import SmoothingModule
from lightning_rs.objectives.copies import log_probabilities, repeat_copies


def gaussian_loss(logits: Tensor, y: Tensor, *, m: int = 1, label_smoothing: float = 0.0) -> dict[str, Tensor]:
    """Mean over the batch and the copies of

        cross_entropy = -log softmax(logits)_y

    or, where labels are soft, of its mean over the classes y weighted by them. Smoothing by s takes
    (1 - s) label + s / K for the label of K classes.

    Source: J. Cohen, E. Rosenfeld, J. Z. Kolter, "Certified Adversarial Robustness via Randomized Smoothing", 2019,
    Section 3.3; the augmentation is that of M. Lecuyer et al., "Certified Robustness to Adversarial Examples with
    Differential Privacy", 2018.

    Args:
        logits: (m * rows, classes) of the images under noise, first copies first.
        y: (rows,) int64 labels, or (rows, classes) weights of the classes.
        m: copies of every image.
        label_smoothing: see above.

    Returns:
        The one part, a scalar.
    """
    log_p, y = log_probabilities(logits), repeat_copies(y, m)
    if label_smoothing or y.is_floating_point():
        return {"cross_entropy": F.cross_entropy(log_p, y, label_smoothing=label_smoothing)}
    return {"cross_entropy": F.nll_loss(log_p, y)}


class Gaussian(SmoothingModule):
    """Training under Gaussian noise, one draw an image and step: see `gaussian_loss`.

    Args:
        label_smoothing: share of every label that is spread over all classes.
        mixup: alpha; images, before the noise, and labels are mixed with those of another image of the batch, by a
            share that is drawn from Beta(alpha, alpha) for every batch (H. Zhang et al., "mixup: Beyond Empirical Risk
            Minimization", 2018). 0 is none. `train/noisy_accuracy` is that on mixed images.
        args, kwargs: see `SmoothingModule`.

    Raises:
        ValueError: label_smoothing outside [0, 1), or mixup < 0.
    """

    def __init__(self, *args: Any, label_smoothing: float = 0.0, mixup: float = 0.0, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.label_smoothing = check_not_negative("label_smoothing", label_smoothing)
        if self.label_smoothing >= 1.0:
            raise ValueError(f"label_smoothing must be less than 1, got {self.label_smoothing:g}")
        self.mixup = check_not_negative("mixup", mixup)

    def loss(self, x: Tensor, y: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        if self.mixup:
            x, y = self._mix(x, y)
        logits = self(x + self.noise(x))
        return gaussian_loss(logits, y, label_smoothing=self.label_smoothing), logits

    @cached_property
    def _mix(self) -> nn.Module:
        from torchvision.transforms.v2 import MixUp  # Slow to import. It draws from torch's global generator.

        return MixUp(alpha=self.mixup, num_classes=self.num_classes)
