"""Stability training: cross entropy of the clean image, and agreement of the noisy prediction with the clean one."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn import functional as F

from lightning_rs.checks import check_not_negative
from lightning_rs.objectives.base import SmoothingModule
from lightning_rs.objectives.copies import log_probabilities


def stability_loss(logits: Tensor, y: Tensor, *, clean_logits: Tensor, lbd: float) -> dict[str, Tensor]:
    """With p = softmax(clean_logits) and q = softmax(logits), the means over the batch of

        classification = -log p_y
        stability      = lbd * -sum_c p_c log q_c

    The gradient flows through p, too.

    Source: B. Li, C. Chen, W. Wang, L. Carin, "Certified Adversarial Robustness with Additive Noise", 2019, after
    S. Zheng et al., "Improving the Robustness of Deep Neural Networks via Stability Training", 2016.

    Args:
        logits: (rows, classes) of the images under noise.
        y: (rows,) int64 labels.
        clean_logits: (rows, classes) of the images.
        lbd: weight lambda of the second part.

    Returns:
        The two parts, scalars; the loss is their sum.
    """
    log_p, log_q = log_probabilities(clean_logits), log_probabilities(logits)
    return {
        "classification": F.nll_loss(log_p, y),
        "stability": -lbd * (log_p.exp() * log_q).sum(dim=1).mean(),
    }


class Stability(SmoothingModule):
    """Stability training: see `stability_loss`. A step makes two passes of the batch, one clean and one noisy.

    Args:
        lbd: weight lambda of the agreement.
        args, kwargs: see `SmoothingModule`.

    Raises:
        ValueError: lbd < 0.
    """

    def __init__(self, *args: Any, lbd: float = 2.0, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.lbd = check_not_negative("lbd", lbd)

    def loss(self, x: Tensor, y: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        logits = self(x + self.noise(x))
        return stability_loss(logits, y, clean_logits=self(x), lbd=self.lbd), logits
