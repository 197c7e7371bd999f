"""Base classifiers whose smoothed answers are known, so that a certificate can be told to be wrong.

Here what has a closed form in real arithmetic. `lightning_rs.audit.tables` has those on the grid of images.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special, stats
from torch import Tensor, nn

from lightning_rs.audit.claim import Claim
from lightning_rs.noise import Gaussian, Noise

SURE = 200.0
"""A difference of logits whose softmax is 0 and 1 to the last bit of float32."""


class KnownClassifier(nn.Module, ABC):
    """A base classifier, one image, and the noise under which its answers to that image are known.

    Args:
        noise: see there.
        image: (*shape), float32.
        num_classes: number of classes.

    What is known comes from closed forms and sums in float64, never from what certifies.
    """

    def __init__(self, noise: Noise, image: Tensor, num_classes: int) -> None:
        super().__init__()
        self.noise, self.image, self.num_classes = noise, image, num_classes

    @property
    @abstractmethod
    def votes(self) -> NDArray[np.float64]:
        """(K,) the probability of each answer to the image under noise."""

    @abstractmethod
    def radius(self, c: int, claim: Claim) -> float:
        """The largest radius for which the claim is true of class c; 0 if it is false at the image."""


class _TwoSure(KnownClassifier):
    """Class 1 within a region of R^d, class 0 outside, with scores 0 and 1.

    Neither products nor convolutions: no precision and no preparation changes an answer. What float32 rounds, sums and
    differences, moves probabilities by some 1e-7.
    """

    def __init__(self, sigma: float, image: Tensor, share: float) -> None:
        super().__init__(Gaussian(sigma), image, 2)
        self.share = float(share)

    @property
    def votes(self) -> NDArray[np.float64]:
        return np.array([1.0 - self.share, self.share])

    def forward(self, rows: Tensor) -> Tensor:
        inside = self._inside(rows.flatten(1)).float()
        return SURE * torch.stack([1.0 - inside, inside], dim=1)

    @abstractmethod
    def _inside(self, rows: Tensor) -> Tensor:
        """(rows,) bool, of rows (rows, d)."""


class HalfSpace(_TwoSure):
    """Class 1 where a.x >= b: of all classifiers the one whose answers robustness theorems fear most.

    P(1 | x + delta) = Phi((a.(x + delta) - b) / (sigma |a|)) falls fastest along -a: in a ball of radius R by R times
    the dual norm of a, which is |a|_2 for l2, max |a_i| for l1, sum |a_i| for l-infinity, over the pixels that may
    change.

    Args:
        normal: a, (*shape).
        share: P(1 | x), which sets b.
        sigma: standard deviation of the noise.
        image: x.
    """

    def __init__(self, normal: ArrayLike, share: float, sigma: float, image: Tensor) -> None:
        super().__init__(sigma, image, share)
        self.normal = np.asarray(normal, dtype=np.float64).reshape(image.shape)
        # In units of sigma |a|, how far x lies within.
        offset = float(special.ndtri(share)) * sigma * np.linalg.norm(self.normal)
        self.register_buffer("a", torch.from_numpy(self.normal.ravel()).float())
        self.register_buffer("centre", image.flatten().clone())
        self.register_buffer("least", torch.tensor(-offset, dtype=torch.float32))

    def _inside(self, rows: Tensor) -> Tensor:
        return ((rows - self.centre) * self.a).sum(dim=1) >= self.least

    def radius(self, c: int, claim: Claim) -> float:
        share = self.share if c == 1 else 1.0 - self.share
        within = special.ndtri(share) - special.ndtri(claim.share)
        steepest = np.abs(self.normal[claim.free])
        rate = {"l1": steepest.max, "linf": steepest.sum}.get(claim.norm, lambda: np.linalg.norm(steepest))()
        return float(max(within, 0.0) * self.noise.scale * np.linalg.norm(self.normal) / rate)


class Ball(_TwoSure):
    """Class 1 within a distance of the image, class 0 beyond; of one pixel it is a slab.

    |x + delta + sigma u - x|^2 / sigma^2 is noncentral chi-square with d degrees of freedom and noncentrality
    |delta|^2 / sigma^2: P(1 | x + delta) depends on |delta|_2 alone. That is at most R in the l1 ball of radius R, and
    R sqrt(d) in the l-infinity ball, d the number of pixels that may change; both are reached.

    Args:
        share: P(1 | x), which sets the distance.
        sigma: standard deviation of the noise.
        image: x.
    """

    def __init__(self, share: float, sigma: float, image: Tensor) -> None:
        super().__init__(sigma, image, share)
        self._square = float(stats.chi2.ppf(share, image.numel()))
        self.register_buffer("centre", image.flatten().clone())
        self.register_buffer("most", torch.tensor(sigma**2 * self._square, dtype=torch.float32))

    def _inside(self, rows: Tensor) -> Tensor:
        return (rows - self.centre).square().sum(dim=1) <= self.most

    def radius(self, c: int, claim: Claim) -> float:
        share = self.share if c == 1 else 1.0 - self.share
        if share <= claim.share:
            return 0.0
        if c == 0:
            return np.inf  # It gains wherever one goes.

        def excess(distance: float) -> float:
            return stats.ncx2.cdf(self._square, self.image.numel(), distance**2) - claim.share

        far = np.sqrt(self._square) + 10.0
        distance = optimize.brentq(excess, 1e-9, far, xtol=1e-14) if excess(1e-9) > 0 else 0.0
        longest = np.sqrt(claim.free.sum()) if claim.norm == "linf" else 1.0
        return float(self.noise.scale * distance / longest)
