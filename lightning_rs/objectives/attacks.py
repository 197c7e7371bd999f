"""First-order l2 attacks on the soft smoothed classifier, with given noise.

The classifier F(x) = mean_i softmax(f(x + noise_i)) is attacked by the gradient of -log F(x)_y. Only gradients with
respect to the image are computed: none reaches a parameter, and under data parallelism nothing is exchanged. Whether
f runs in evaluation mode is the caller's business.

Source: H. Salman et al., "Provably Robust Deep Learning via Adversarially Trained Smoothed Classifiers", 2019.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_rs.checks import check_at_least, check_positive
from lightning_rs.objectives.copies import is_top, log_mean, log_probabilities, split_copies, with_noise

Classifier = Callable[[Tensor], Tensor]


def ascent(classifier: Classifier, x: Tensor, y: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """The direction in which -log F(x)_y grows fastest, and log F(x).

    The gradient is brought to norm 1 per example, however small it is; where it is exactly 0 the direction is 0.
    (Salman et al. then draw a direction at random; the released code of Consistency and SmoothMix does as here.)

    Args:
        classifier: maps (rows, *shape) to logits (rows, classes).
        x: (rows, *shape) images.
        y: (rows,) int64 labels.
        noise: (copies * rows, *shape), first copies first.

    Returns:
        Directions (rows, *shape) and log-probabilities (rows, classes), without gradient.
    """
    copies = len(noise) // len(x)
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        logits = classifier(with_noise(x, noise))
        log_f = log_mean(log_probabilities(split_copies(logits, copies)))
        # A sum, so that an example's gradient does not depend on the batch's size.
        (gradient,) = torch.autograd.grad(F.nll_loss(log_f, y, reduction="sum"), x)
    return unit(gradient), log_f.detach()


def unit(gradient: Tensor) -> Tensor:
    """Every row of (rows, *shape) brought to norm 1, however small it is; a row of zeros stays."""
    flat = gradient.flatten(1)
    # Scaled first: squares of small numbers vanish.
    flat = flat / flat.abs().amax(dim=1, keepdim=True).clamp(min=torch.finfo(flat.dtype).tiny)
    return F.normalize(flat, dim=1).view_as(gradient)


def project(x: Tensor, origin: Tensor, epsilon: float | None = None) -> Tensor:
    """x brought into [0, 1], and then to within l2 distance `epsilon` of `origin`, which lies in [0, 1]."""
    x = x.clamp(0.0, 1.0)
    return x if epsilon is None else origin + (x - origin).renorm(2, 0, epsilon)


def pgd(classifier: Classifier, x: Tensor, y: Tensor, noise: Tensor, epsilon: float, steps: int) -> Tensor:
    """Projected gradient ascent: `steps` steps of length 2 epsilon / steps from x, within epsilon and [0, 1].

    Args:
        epsilon: l2 radius in pixel units.
        steps: number of steps T, each one pass of all copies.
        classifier, x, y, noise: see `ascent`.

    Returns:
        (rows, *shape) attacked images, without gradient.

    Raises:
        ValueError: epsilon <= 0 or steps < 1.
    """
    check_positive("epsilon", epsilon)
    check_at_least("steps", steps, 1)
    attacked = x.detach()
    for _ in range(steps):
        direction, _ = ascent(classifier, attacked, y, noise)
        attacked = project(attacked + 2 * epsilon / steps * direction, x, epsilon)
    return attacked


def ddn(
    classifier: Classifier, x: Tensor, y: Tensor, noise: Tensor, epsilon: float, steps: int, gamma: float = 0.05
) -> Tensor:
    """Decoupled direction and norm: the least perturbation that changes the class, cut to epsilon; x where none does.

    The norm starts at epsilon and shrinks by 1 - gamma where F errs, and grows by 1 + gamma where it does not. Steps
    shorten from 1 to 0.01 along a cosine. Unlike the released code, the class is that of F rather than the copies'
    majority, and pixels are not rounded to 256 levels.

    Source: J. Rony et al., "Decoupling Direction and Norm for Efficient Gradient-Based L2 Adversarial Attacks and
    Defenses", 2019, Algorithm 1, with the changes of Salman et al., 2019.

    Args, returns and errors: as `pgd`; gamma is the factor of the norm.
    """
    check_positive("epsilon", epsilon)
    check_at_least("steps", steps, 1)
    x = x.detach()
    shape = (-1, *[1] * (x.dim() - 1))
    worst = torch.maximum(x, 1 - x).flatten(1).norm(dim=1)
    norm, least = torch.full_like(worst, epsilon), worst
    delta, best = torch.zeros_like(x), torch.zeros_like(x)
    for step in range(steps):
        direction, log_f = ascent(classifier, x + delta, y, noise)
        errs = ~is_top(log_f, y)
        length = delta.flatten(1).norm(dim=1)
        better = errs & (length < least)
        least = torch.where(better, length, least)
        best = torch.where(better.view(shape), delta, best)
        rate = 0.01 + 0.99 * (1 + math.cos(math.pi * (step + 1) / steps)) / 2
        norm = torch.minimum(norm * torch.where(errs, 1 - gamma, 1 + gamma), worst)
        delta = F.normalize((delta + rate * direction).flatten(1), dim=1).view_as(x) * norm.view(shape)
        delta = project(x + delta, x) - x
    return project(x + best, x, epsilon)


ATTACKS: dict[str, Callable[..., Tensor]] = {"pgd": pgd, "ddn": ddn}
