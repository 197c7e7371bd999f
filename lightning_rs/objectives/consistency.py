"""Consistency regularisation: predictions under different noise draws shall agree, and be certain."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn import functional as F

from lightning_rs.checks import check_at_least, check_not_negative
from lightning_rs.objectives.base import SmoothingModule
from lightning_rs.objectives.copies import log_mean, log_probabilities, split_copies, with_noise


def consistency_loss(logits: Tensor, y: Tensor, *, m: int, lbd: float, eta: float) -> dict[str, Tensor]:
    """With p_i the softmax of copy i and q = mean_i p_i, the means over the batch of

        classification = mean_i -log p_i,y
        consistency    = lbd * mean_i sum_c q_c log(q_c / p_i,c)
        entropy        = eta * -sum_c q_c log q_c

    The gradient flows through q, too.

    Source: J. Jeong, J. Shin, "Consistency Regularization for Certified Robustness of Smoothed Classifiers", 2020.

    Args:
        logits: (m * rows, classes), first copies first.
        y: (rows,) int64 labels.
        m: copies of every image.
        lbd: weight lambda of the agreement.
        eta: weight of the entropy.

    Returns:
        The three parts, scalars; the loss is their sum.

    Raises:
        ValueError: a number of rows that m does not divide.
    """
    log_p = log_probabilities(split_copies(logits, m))
    log_q = log_mean(log_p)
    q = log_q.exp()
    return {
        "classification": F.nll_loss(log_p.flatten(0, 1), y.repeat(m)),
        "consistency": lbd * (q * (log_q - log_p)).sum(dim=2).mean(),
        "entropy": -eta * (q * log_q).sum(dim=1).mean(),
    }


class Consistency(SmoothingModule):
    """Consistency regularisation: see `consistency_loss`. A step makes m passes of the batch.

    The authors' scripts cut each batch into m chunks and step on m copies of each, so their batch of 256 with m = 2 is
    `batch_size` 128 here: as many rows a step, and as many steps an epoch.

    Args:
        m: noisy copies of every image.
        lbd: weight lambda of the agreement.
        eta: weight of the entropy.
        args, kwargs: see `SmoothingModule`.

    Raises:
        ValueError: m < 1, lbd < 0 or eta < 0.
    """

    def __init__(self, *args: Any, m: int = 2, lbd: float = 10.0, eta: float = 0.5, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.m = check_at_least("m", m, 1)
        self.lbd = check_not_negative("lbd", lbd)
        self.eta = check_not_negative("eta", eta)

    def loss(self, x: Tensor, y: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        logits = self(with_noise(x, self.noise(x, self.m)))
        return consistency_loss(logits, y, m=self.m, lbd=self.lbd, eta=self.eta), logits
