"""Training without noise: cross entropy of every image as it is."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_rs.objectives.base import SmoothingModule
from lightning_rs.objectives.gaussian import gaussian_loss
from lightning_rs.smoothing.sampler import evaluating


class Clean(SmoothingModule):
    """Training as usual, for a classifier that is certified behind a denoiser, or for comparison: `gaussian_loss` of
    the images without noise. Its scores under noise, by which its accuracy is measured, change no batch norm.

    Args:
        args, kwargs: see `SmoothingModule`. `sigma` is the noise that it is validated and certified under.
    """

    def loss(self, x: Tensor, y: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        with evaluating(self), torch.no_grad():
            logits = self(x + self.noise(x))
        return gaussian_loss(self(x), y), logits
