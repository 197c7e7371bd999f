"""MACER: cross entropy of the soft smoothed classifier, and a hinge on its certified radius where it is correct."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_rs.checks import check_at_least, check_not_negative, check_positive
from lightning_rs.objectives.base import SmoothingModule
from lightning_rs.objectives.copies import is_top, log_mean, log_probabilities, split_copies, with_noise


def macer_loss(
    logits: Tensor, y: Tensor, *, k: int, sigma: float, lbd: float, beta: float = 16.0, gamma: float = 8.0
) -> dict[str, Tensor]:
    """With z = mean_j softmax(u_j) and z' = mean_j softmax(beta u_j) over the k copies' logits u_j, means over the
    batch of

        classification = -log z_y
        robustness     = lbd sigma / 2 * max(gamma - xi, 0)  where z'_y is the highest, otherwise 0
        xi             = icdf(z'_y) - icdf(max_{c != y} z'_c),  icdf of the standard normal distribution

    sigma xi / 2 is the certified radius of z'. Examples whose xi exceeds gamma have no gradient: that also
    disposes of those where icdf is infinite. A class tied with y counts as below it (the paper leaves ties open).

    icdf(z'_y) is taken from the sum of the other classes when that is the smaller number, so it stays exact as z'_y
    approaches 1, and probabilities below the least normal number (1e-38 in float32) are clamped to it, where the
    derivative of icdf is still finite.

    Source: R. Zhai et al., "MACER: Attack-free and Scalable Robust Training via Maximizing Certified Radius", 2020,
    Algorithm 1.

    Args:
        logits: (k * rows, classes), first copies first.
        y: (rows,) int64 labels.
        k: copies of every image.
        sigma: standard deviation of the noise, in pixel units.
        lbd: weight lambda of the robustness.
        beta: inverse temperature of the softmax in the robustness.
        gamma: where the hinge ends, in units of xi.

    Returns:
        The two parts, scalars; the loss is their sum.

    Raises:
        ValueError: a number of rows that k does not divide.
    """
    u = split_copies(logits, k)
    classification = F.nll_loss(log_mean(log_probabilities(u)), y)
    z = log_probabilities(beta * (u if u.dtype == torch.float64 else u.float())).exp().mean(dim=0)
    correct = is_top(z, y)
    own = z.gather(1, y[:, None]).squeeze(1)
    others = z.scatter(1, y[:, None], 0.0)
    rest = others.sum(dim=1)
    own_quantile = torch.where(own < rest, _icdf(own), -_icdf(rest))
    hinge = F.relu(gamma - (own_quantile - _icdf(others.amax(dim=1))))
    # All images go through it, for to pick some a GPU would have to say how many: the host would wait for it.
    hinge = torch.where(correct, hinge, 0.0)
    return {"classification": classification, "robustness": lbd * sigma / 2 * hinge.sum() / len(y)}


def _icdf(p: Tensor) -> Tensor:
    """Inverse of the standard normal distribution function, for p <= 1/2 (above, clamped: that branch is not used)."""
    return torch.special.ndtri(p.clamp(torch.finfo(p.dtype).tiny, 0.5))


class MACER(SmoothingModule):
    """Maximises the certified radius of the soft smoothed classifier: see `macer_loss`. A step makes k passes of the
    batch.

    Args:
        k: noisy copies of every image.
        lbd: weight lambda of the robustness.
        beta: inverse temperature of the softmax in the robustness.
        gamma: where the hinge ends, in units of 2 / sigma times the radius.
        deferred: epochs before the robustness is added.
        args, kwargs: see `SmoothingModule`.

    Raises:
        ValueError: k < 1, lbd < 0, beta or gamma <= 0, or deferred < 0.
    """

    def __init__(
        self,
        *args: Any,
        k: int = 16,
        lbd: float = 12.0,
        beta: float = 16.0,
        gamma: float = 8.0,
        deferred: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.k = check_at_least("k", k, 1)
        self.lbd = check_not_negative("lbd", lbd)
        self.beta = check_positive("beta", beta)
        self.gamma = check_positive("gamma", gamma)
        self.deferred = check_at_least("deferred", deferred, 0)

    def loss(self, x: Tensor, y: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        logits = self(with_noise(x, self.noise(x, self.k)))
        lbd = self.lbd if self.current_epoch >= self.deferred else 0.0
        settings = {"k": self.k, "sigma": self.sigma, "lbd": lbd, "beta": self.beta, "gamma": self.gamma}
        return macer_loss(logits, y, **settings), logits
