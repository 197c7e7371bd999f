"""Projected gradient descent on a margin, in a ball of fixed size or in the smallest one that holds a broken point."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lightning_rs.attack.balls import Ball
from lightning_rs.attack.directions import Margins

# Share of the gradients before in the direction of a step.
_MOMENTUM = 0.75
# Step lengths, relative to the ball, and changes of the ball: at first; they fall along a cosine.
_STEP, _CHANGE = 0.5, 0.1
_LAST = 0.02
# The ball grows at most by so much in a step.
_GROWTH = 1.5


def descend(
    margins: Margins,
    ball: Ball,
    image: Tensor,
    delta: Tensor,
    epsilon: Tensor,
    steps: int,
    *,
    furthest: float | None = None,
    level: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Steepest descent with momentum from every start, projected to within `epsilon` of the image.

    With `furthest` the size of the ball changes: it shrinks where the margin is below the level, and grows where it is
    not, at first as far as the gradient says. So the points come to the nearest that break the claim.

    Args:
        margins: see `Margins`.
        ball: around the image.
        image: (*shape).
        delta: (points, d), the starts, from the image.
        epsilon: (points,), sizes of the balls.
        steps: number of steps.
        furthest: the largest size, if it may change.
        level: below which a point counts as broken.

    Returns:
        The points (points, d), from the image, and the last margins (points,), of those one step before.

    Source: M. Pintor et al., "Fast Minimum-norm Adversarial Attacks through Adaptive Norm Constraints", 2021, for the
    size of the ball; here with a step and a direction that suit the norm.
    """
    direction, ever = torch.zeros_like(delta), torch.zeros(len(delta), dtype=torch.bool, device=delta.device)
    values = delta.new_zeros(len(delta))
    for step in range(steps):
        falling = _LAST + (1.0 - _LAST) * (1.0 + math.cos(math.pi * step / steps)) / 2.0
        values, gradient = margins((image.flatten() + delta).view(-1, *image.shape))
        gradient = ball.restrict(gradient)
        size = gradient.abs().amax(dim=1, keepdim=True).clamp(min=torch.finfo(gradient.dtype).tiny)
        scaled = torch.nn.functional.normalize(gradient / size, dim=1)
        direction = _MOMENTUM * direction + (1.0 - _MOMENTUM) * scaled
        if furthest is not None:
            broken = values < level
            slope = ball.slope(gradient).clamp(min=torch.finfo(gradient.dtype).tiny)
            change = _CHANGE * falling
            larger = epsilon * (1.0 + change)
            needed = ball.length(delta).to(epsilon) + (values - level) / slope
            larger = torch.where(ever, larger, needed.clamp(larger, _GROWTH * epsilon))
            epsilon = torch.where(broken, epsilon * (1.0 - change), larger.clamp(max=furthest))
            ever |= broken
        delta = ball.project(delta - (_STEP * falling * epsilon)[:, None] * ball.steepest(direction), epsilon)
    return delta, values
