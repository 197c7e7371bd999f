"""SmoothAdv: cross entropy at images attacked through the soft smoothed classifier; Consistency may be added."""

from __future__ import annotations

from typing import Any, Literal

from torch import Tensor

from lightning_rs.checks import check_at_least, check_known, check_not_negative, check_positive
from lightning_rs.objectives.attacks import ATTACKS
from lightning_rs.objectives.base import SmoothingModule
from lightning_rs.objectives.consistency import consistency_loss
from lightning_rs.objectives.copies import with_noise
from lightning_rs.objectives.gaussian import gaussian_loss
from lightning_rs.smoothing.sampler import evaluating


class SmoothAdv(SmoothingModule):
    """Adversarial training of the smoothed classifier: the loss is that of m noisy copies of the attacked image, under
    the noise of the attack; `gaussian_loss`, or with `lbd` or `eta` `consistency_loss`. Attacks: see
    `lightning_rs.objectives.attacks`.

    Source: H. Salman et al., "Provably Robust Deep Learning via Adversarially Trained Smoothed Classifiers", 2019;
    with Consistency: J. Jeong, J. Shin, "Consistency Regularization for Certified Robustness of Smoothed Classifiers",
    2020.

    A step makes m * steps passes of the batch to attack it, without gradients of the weights, and m to learn from it.
    The attack runs in evaluation mode, as in the authors' code: batch norms use, and keep, their running statistics.

    The authors' epsilon is in 1/256 of the pixel range: their 256 is 1.0 here. Their scripts cut each batch into m
    chunks, so their batch of 256 with m = 4 is `batch_size` 64 here.

    Args:
        m: noisy copies of every image, the same in the attack and in the loss.
        epsilon: l2 radius of the attack, in pixel units.
        attack: `pgd` or `ddn`.
        steps: steps of the attack.
        warmup: epochs over which epsilon grows linearly to its value: (epoch + 1) / warmup of it.
        lbd, eta: weights of Consistency's agreement and entropy; 0 is plain SmoothAdv.
        args, kwargs: see `SmoothingModule`.

    Raises:
        ValueError: m, steps or warmup < 1, epsilon <= 0, lbd < 0, eta < 0, or an unknown attack.
    """

    def __init__(
        self,
        *args: Any,
        m: int = 4,
        epsilon: float = 1.0,
        attack: Literal["pgd", "ddn"] = "pgd",
        steps: int = 10,
        warmup: int = 10,
        lbd: float = 0.0,
        eta: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.m = check_at_least("m", m, 1)
        self.epsilon = check_positive("epsilon", epsilon)
        self.attack = ATTACKS[check_known("attack", attack, ATTACKS)]
        self.steps = check_at_least("steps", steps, 1)
        self.warmup = check_at_least("warmup", warmup, 1)
        self.lbd = check_not_negative("lbd", lbd)
        self.eta = check_not_negative("eta", eta)

    def loss(self, x: Tensor, y: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        noise = self.noise(x, self.m)
        with evaluating(self):
            attacked = self.attack(self, x, y, noise, self.epsilon * self.ramp(self.warmup), self.steps)
        logits = self(with_noise(attacked, noise))
        if self.lbd or self.eta:
            return consistency_loss(logits, y, m=self.m, lbd=self.lbd, eta=self.eta), logits
        return gaussian_loss(logits, y, m=self.m), logits
