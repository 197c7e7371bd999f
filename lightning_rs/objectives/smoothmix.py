"""SmoothMix: images on the way to an adversarial one shall be less and less certain."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_rs.checks import check_at_least, check_not_negative, check_positive
from lightning_rs.objectives.attacks import Classifier, ascent, project
from lightning_rs.objectives.base import SmoothingModule
from lightning_rs.objectives.copies import is_top, log_mean, log_probabilities, split_copies, with_noise
from lightning_rs.smoothing.sampler import evaluating


def smoothmix_path(
    classifier: Classifier, x: Tensor, y: Tensor, noise: Tensor, alpha: float, steps: int, mix_step: int, radius: float
) -> tuple[Tensor, Tensor]:
    """Ascent of `steps` steps of length alpha from x in [0, 1], as far as they lead: no ball bounds it.

    Args:
        alpha: length of a step, in pixel units.
        steps: number of steps T, each one pass of all copies.
        mix_step: the step that counts as the clean side: 0 is x itself.
        radius: l2 distance from x to which the clean side is cut, in pixel units.
        classifier, x, y, noise: see `lightning_rs.objectives.attacks.ascent`.

    Returns:
        The clean side, and the end of the path, (rows, *shape) each, without gradient.
    """
    end = start = x.detach()
    for step in range(steps):
        if step == mix_step:
            start = end
        direction, _ = ascent(classifier, end, y, noise)
        end = project(end + alpha * direction, x)
    return project(start, x, radius), end


def smoothmix_loss(
    logits: Tensor, y: Tensor, *, mixed_logits: Tensor, share: Tensor, m: int, eta: float
) -> dict[str, Tensor]:
    """With p_i the softmax of copy i of the clean side, q = mean_i p_i, r_i the softmax of copy i of the mixed image,
    which is (1 - share) clean side + share end of the path, and K classes, the means over the batch of

        classification = mean_i -log p_i,y
        mixing         = eta * mean_i sum_c t_c log(t_c / r_i,c)  where q_y is the highest, otherwise 0
        t              = (1 - share) q + share / K

    The gradient flows through t, too.

    Source: J. Jeong, S. Park, M. Kim, H.-C. Lee, D. Kim, J. Shin, "SmoothMix: Training Confidence-calibrated Smoothed
    Classifiers for Certified Robustness", 2021.

    Args:
        logits: (m * rows, classes) of the clean side, first copies first.
        y: (rows,) int64 labels.
        mixed_logits: (m * rows, classes) of the mixed images, under the same noise.
        share: (rows,) in [0, 1/2].
        m: copies of every image.
        eta: weight of the second part.

    Returns:
        The two parts, scalars; the loss is their sum.

    Raises:
        ValueError: a number of rows that m does not divide.
    """
    log_p, log_r = (log_probabilities(split_copies(u, m)) for u in (logits, mixed_logits))
    log_q = log_mean(log_p)
    share = share.to(log_q.dtype)[:, None]
    log_t = torch.logaddexp(torch.log1p(-share) + log_q, share.log() - math.log(log_q.shape[1]))
    divergence = (log_t.exp() * (log_t - log_r)).sum(dim=2)
    return {
        "classification": F.nll_loss(log_p.flatten(0, 1), y.repeat(m)),
        "mixing": eta * (divergence * is_top(log_q, y)).mean(),
    }


class SmoothMix(SmoothingModule):
    """Mix-up towards the uniform label along an adversarial path: see `smoothmix_path` and `smoothmix_loss`.

    A step makes m * steps passes of the batch for the path, in evaluation mode and without gradients of the weights,
    and 2 m to learn. During the first `warmup` epochs the weight eta and the distance alpha * mix_step of the clean
    side grow linearly.

    The authors' scripts cut each batch into m chunks, so their batch of 256 with m = 4 is `batch_size` 64 here.

    Args:
        m: noisy copies of every image, the same on the path and in the loss.
        alpha: length of a step, in pixel units.
        steps: steps of the path.
        mix_step: the step that counts as the clean side, below `steps`; 0 is the image itself.
        eta: weight of the mixing.
        warmup: epochs of warm-up.
        args, kwargs: see `SmoothingModule`.

    Raises:
        ValueError: m, steps or warmup < 1, alpha <= 0, eta < 0 or mix_step outside [0, steps - 1].
    """

    def __init__(
        self,
        *args: Any,
        m: int = 2,
        alpha: float = 1.0,
        steps: int = 4,
        mix_step: int = 0,
        eta: float = 5.0,
        warmup: int = 10,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.m = check_at_least("m", m, 1)
        self.alpha = check_positive("alpha", alpha)
        self.steps = check_at_least("steps", steps, 1)
        if not 0 <= mix_step < steps:
            raise ValueError(f"mix_step must lie in [0, {steps - 1}], below steps, got {mix_step}")
        self.mix_step = mix_step
        self.eta = check_not_negative("eta", eta)
        self.warmup = check_at_least("warmup", warmup, 1)

    def loss(self, x: Tensor, y: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        noise, ramp = self.noise(x, self.m), self.ramp(self.warmup)
        radius = ramp * self.alpha * self.mix_step
        with evaluating(self):
            start, end = smoothmix_path(self, x, y, noise, self.alpha, self.steps, self.mix_step, radius)
        share = torch.rand(len(x), device=x.device) / 2
        weight = share.view(-1, *[1] * (x.dim() - 1))
        logits = self(with_noise(start, noise))
        mixed_logits = self(with_noise((1 - weight) * start + weight * end, noise))
        parts = smoothmix_loss(logits, y, mixed_logits=mixed_logits, share=share, m=self.m, eta=ramp * self.eta)
        return parts, logits
