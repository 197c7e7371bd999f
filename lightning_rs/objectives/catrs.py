"""CAT-RS: the fewer noisy copies of an image are right, the fewer of them count; where all do, the worst noise."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_rs.checks import check_at_least, check_not_negative, check_positive
from lightning_rs.objectives.attacks import Classifier, unit
from lightning_rs.objectives.baseline_objective import BaselineObjective
from lightning_rs.objectives.copies import log_mean, log_probabilities, split_copies, with_noise
from lightning_rs.smoothing.sampler import evaluating


def draw_kept(logits: Tensor, y: Tensor, m: int) -> Tensor:
    """K ~ Binomial(m, share of an image's copies that are classified correctly), but at least 1.

    Args:
        logits: (m * rows, classes), first copies first.
        y: (rows,) int64 labels.
        m: copies of every image.

    Returns:
        (rows,) int64, without gradient.
    """
    right = split_copies(logits.argmax(dim=1), m) == y
    # A sum of coins, as torch's own binomial draws have no form for a device without values, by which steps are held
    # to ask the device for nothing.
    return (torch.rand(right.shape, device=y.device) < right.float().mean(dim=0)).sum(dim=0).clamp(min=1)


def attacked_noise(
    classifier: Classifier, x: Tensor, target: Tensor, noise: Tensor, epsilon: float, steps: int
) -> Tensor:
    """Projected gradient ascent on every copy's noise d, of KL(target || softmax f(x + d)).

    `steps` steps of length 2 epsilon / steps from d, each brought back to within l2 distance epsilon of d, and then

        d' -> mean(d) + rms(d) (d' - mean(d')) / rms(d'),  rms(d)^2 = mean(d^2), over the pixels of one copy

    so that the noise keeps its mean and, nearly, its root mean square, as in the authors' code; by that it may leave
    the ball a little. Nothing bounds x + d'.

    Args:
        classifier: maps (rows, *shape) to logits (rows, classes).
        x: (rows, *shape) images.
        target: (rows, classes) probabilities.
        noise: (copies * rows, *shape), first copies first.
        epsilon: l2 radius, in pixel units.
        steps: number of steps T, each one pass of all copies.

    Returns:
        (copies * rows, *shape) noise, without gradient.
    """
    attacked, copies = noise, len(noise) // len(x)
    mean, rms = _moments(noise)
    for _ in range(steps):
        with torch.enable_grad():
            attacked = attacked.detach().requires_grad_()
            divergence = _divergence(target, split_copies(classifier(with_noise(x, attacked)), copies))
            # A sum, so that an example's gradient does not depend on the batch's size.
            (gradient,) = torch.autograd.grad(divergence.sum(), attacked)
        attacked = attacked.detach() + 2 * epsilon / steps * unit(gradient)
        attacked = noise + (attacked - noise).renorm(2, 0, epsilon)
        its_mean, its_rms = _moments(attacked)
        attacked = mean + rms * (attacked - its_mean) / its_rms.clamp(min=torch.finfo(its_rms.dtype).tiny)
    return attacked


def _moments(noise: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and root mean square of every row."""
    pixels = tuple(range(1, noise.dim()))
    return noise.mean(pixels, keepdim=True), noise.square().mean(pixels, keepdim=True).sqrt()


def _divergence(target: Tensor, logits: Tensor) -> Tensor:
    """KL(target || softmax) of (rows, classes) and (copies, rows, classes): (copies, rows)."""
    log_q = log_probabilities(logits)
    return F.kl_div(log_q, target.to(log_q.dtype).expand_as(log_q), reduction="none").sum(dim=2)


def catrs_loss(
    logits: Tensor, y: Tensor, *, attacked_logits: Tensor, target: Tensor, kept: Tensor, m: int, lbd: float
) -> dict[str, Tensor]:
    """With l_1 <= ... <= l_m the values of -log softmax(u_i)_y over the copies' logits u_i in their order, q_i the
    softmax of copy i under attacked noise, and K = kept, the means over the batch of

        bottom_k   = 1/m sum_{i <= K} l_i
        worst_case = lbd * max_i sum_c t_c log(t_c / q_i,c)  where K = m, otherwise 0

    Source: J. Jeong, S. Kim, J. Shin, "Confidence-aware Training of Smoothed Classifiers for Certified Robustness",
    2023.

    Args:
        logits: (m * rows, classes) of the images under noise, first copies first.
        y: (rows,) int64 labels.
        attacked_logits: (m * rows, classes) of the images under attacked noise.
        target: (rows, classes) probabilities t.
        kept: (rows,) number K of copies that count, see `draw_kept`.
        m: copies of every image.
        lbd: weight lambda of the second part.

    Returns:
        The two parts, scalars; the loss is their sum.

    Raises:
        ValueError: a number of rows that m does not divide.
    """
    losses = F.nll_loss(log_probabilities(logits), y.repeat(m), reduction="none")
    ascending = split_copies(losses, m).sort(dim=0).values
    counts = torch.arange(m, device=kept.device)[:, None] < kept
    worst = _divergence(target, split_copies(attacked_logits, m)).amax(dim=0)
    # All images go through both, for to pick some a GPU would have to say how many: the host would wait for it.
    return {
        "bottom_k": torch.where(counts, ascending, 0.0).mean(),
        "worst_case": lbd * torch.where(kept == m, worst, 0.0).mean(),
    }


class CATRS(BaselineObjective):
    """Confidence-aware training: see `catrs_loss`, `draw_kept` and `attacked_noise`.

    The target of an image is its smoothed prediction by a frozen baseline, trained with `Gaussian`: the mean of its
    softmax over the very copies of the step. (The authors take 10,000 votes of it for every image of the training
    set before augmentation, in advance.) Without one the target is the mean over the copies of the classifier in
    training itself, without gradient. That is not the published method: nothing but the labels then tells an image that
    deserves certainty.

    A step makes m * steps passes of the batch for the attack, in evaluation mode and without gradients of the weights,
    2 m to learn, and m forward of the baseline. The authors' epsilon is in 1/256 of the pixel range: their 256 is 1.0
    here. Their script cuts each batch into m chunks, so their batch of 256 with m = 4 is `batch_size` 64 here. They
    have no warm-up.

    Args:
        m: noisy copies of every image.
        epsilon: l2 radius of the attack on the noise, in pixel units.
        steps: steps of the attack.
        lbd: weight of the worst case.
        warmup: epochs over which lbd grows linearly to its value: (epoch + 1) / warmup of it.
        args, kwargs: see `BaselineObjective`.

    Raises:
        ValueError: m, steps or warmup < 1, epsilon <= 0 or lbd < 0.
    """

    needs_baseline = False
    published_baseline = "Gaussian"

    def __init__(
        self,
        *args: Any,
        m: int = 4,
        epsilon: float = 1.0,
        steps: int = 4,
        lbd: float = 0.5,
        warmup: int = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.m = check_at_least("m", m, 1)
        self.epsilon = check_positive("epsilon", epsilon)
        self.steps = check_at_least("steps", steps, 1)
        self.lbd = check_not_negative("lbd", lbd)
        self.warmup = check_at_least("warmup", warmup, 1)

    def loss(self, x: Tensor, y: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        noise = self.noise(x, self.m)
        noisy = with_noise(x, noise)
        logits = self(noisy)
        kept = draw_kept(logits, y, self.m)
        target = self._target(noisy, logits)
        with evaluating(self):
            attacked = attacked_noise(self, x, target, noise, self.epsilon, self.steps)
        settings = {"target": target, "kept": kept, "m": self.m, "lbd": self.lbd * self.ramp(self.warmup)}
        return catrs_loss(logits, y, attacked_logits=self(with_noise(x, attacked)), **settings), logits

    @torch.no_grad()
    def _target(self, noisy: Tensor, logits: Tensor) -> Tensor:
        """Probabilities (rows, classes) of images of which `noisy` are the copies, with these logits."""
        if self.baseline is not None:
            logits = self.baseline_logits(noisy)
        return log_mean(log_probabilities(split_copies(logits, self.m))).exp()
