"""A denoiser behind which the classifier is to answer as it does on the clean image: cross entropy through it."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_rs.objectives.copies import log_probabilities
from lightning_rs.objectives.denoiser_objective import DenoiserObjective


def denoising_stability_loss(logits: Tensor, *, clean_logits: Tensor) -> dict[str, Tensor]:
    """Mean over the batch, with c the class of the highest of the clean logits, of

        stability = -log softmax(logits)_c

    No label has a part in it, and no gradient flows through the clean logits.

    Source: H. Salman, M. Sun, G. Yang, A. Kapoor, J. Z. Kolter, "Denoised Smoothing: A Provable Defense for Pretrained
    Classifiers", 2020 (STAB).

    Args:
        logits: (rows, classes) of the denoised images.
        clean_logits: (rows, classes) of the images as they are.

    Returns:
        The one part, a scalar.
    """
    return {"stability": F.nll_loss(log_probabilities(logits), clean_logits.argmax(dim=1))}


class DenoisingStability(DenoiserObjective):
    """A denoiser trained so that the classifier answers as on clean images: see `denoising_stability_loss`. Arguments:
    `DenoiserObjective`.

    A step makes a pass through the classifier with gradients with respect to its images, and one forward of the clean
    ones, which the denoiser never sees. The authors also start it from a denoiser trained with `Denoising`.
    """

    def loss(self, x: Tensor, y: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        with torch.no_grad():
            clean_logits = self.classifier(x)
        logits = self(x + self.noise(x))
        return denoising_stability_loss(logits, clean_logits=clean_logits), logits
