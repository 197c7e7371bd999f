"""A denoiser that is to give back the clean image: mean squared error."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_rs.objectives.denoiser_objective import DenoiserObjective


def denoising_loss(denoised: Tensor, x: Tensor) -> dict[str, Tensor]:
    """Mean over the batch, channels and pixels of

        squared_error = (denoised - x)^2

    Source: H. Salman, M. Sun, G. Yang, A. Kapoor, J. Z. Kolter, "Denoised Smoothing: A Provable Defense for Pretrained
    Classifiers", 2020 (MSE); their formula is the sum over pixels, their code the mean.

    Args:
        denoised: (rows, ...) what the denoiser made of the images under noise.
        x: (rows, ...) the images.

    Returns:
        The one part, a scalar.
    """
    dtype = torch.promote_types(denoised.dtype, torch.float32)
    return {"squared_error": F.mse_loss(denoised.to(dtype), x.to(dtype))}


class Denoising(DenoiserObjective):
    """A denoiser trained to give back the clean image: see `denoising_loss`. Arguments: `DenoiserObjective`.

    The classifier has no part in the loss. A step makes a forward pass through it, to measure the accuracy.

    Raises:
        ValueError: an engine that compiles: it takes the denoiser and the classifier as one.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.engine.compile:
            raise ValueError("engine.compile does nothing for a denoiser that is trained by itself: leave it out")

    def loss(self, x: Tensor, y: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        denoised = self.denoiser(x + self.noise(x))
        with torch.no_grad():
            logits = self.classifier(denoised)
        return denoising_loss(denoised, x), logits
