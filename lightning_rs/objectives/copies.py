"""Several noisy copies of every image, and the soft smoothed classifier that they estimate.

Copies lie one after the other: rows 0 .. B-1 are the first copies of all B images, rows B .. 2B-1 the second ones. (The
released scripts of SmoothAdv and MACER keep the copies of an image together instead; only the order differs.)

Losses are computed in float32 at least, whatever precision the net ran in.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F


def repeat_copies(x: Tensor, copies: int) -> Tensor:
    """(rows, ...) to (copies * rows, ...)."""
    return x.repeat(copies, *[1] * (x.dim() - 1))


def with_noise(x: Tensor, noise: Tensor) -> Tensor:
    """Copies of images (rows, *shape) under noise (copies * rows, *shape), in the noise's memory format.

    The sum alone is written: the images are not repeated before it.
    """
    copies = len(noise) // len(x)
    return x + noise if copies == 1 else (split_copies(noise, copies) + x).flatten(0, 1)


def split_copies(x: Tensor, copies: int) -> Tensor:
    """(copies * rows, ...) to (copies, rows, ...).

    Raises:
        ValueError: a number of rows that is no multiple of `copies`.
    """
    if len(x) % copies:
        raise ValueError(f"{copies} copies of every image make a multiple of {copies} rows, got {len(x)}")
    return x.view(copies, -1, *x.shape[1:])


def log_probabilities(logits: Tensor) -> Tensor:
    """log softmax over the last dimension, in float32, or float64 if `logits` are."""
    return F.log_softmax(logits if logits.dtype == torch.float64 else logits.float(), dim=-1)


def log_mean(log_p: Tensor) -> Tensor:
    """Log of the mean over the first dimension, (copies, rows, classes) to (rows, classes), without a log of 0."""
    return torch.logsumexp(log_p, dim=0) - math.log(len(log_p))


def is_top(scores: Tensor, y: Tensor) -> Tensor:
    """Whether class y has the highest of the scores (rows, classes), alone or tied: (rows,) booleans."""
    return scores.gather(1, y[:, None]).squeeze(1) >= scores.amax(dim=1)
