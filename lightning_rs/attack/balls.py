"""The balls in which certificates hold: their steepest steps, projections and lengths, one row for every point."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor

from lightning_rs.mechanisms import Mechanism

# Pixels that a step in l1 changes, of all.
_SPARSE = 0.05
# Beyond the rounding of lengths in float64.
_ROUNDED_UP = 1.0 + 1e-12


class Ball(ABC):
    """A ball around an image. A value: equal ones are the same ball.

    Pixels are not kept within [0, 1]: certificates hold for every real input. Arguments are (points, d), lengths
    (points,).

    Attributes:
        norm: its name.
    """

    norm: str

    @abstractmethod
    def steepest(self, gradient: Tensor) -> Tensor:
        """Steps of length 1 along which a function with this gradient grows fastest; 0 where the gradient is 0."""

    @abstractmethod
    def slope(self, gradient: Tensor) -> Tensor:
        """How fast it grows along them: the dual norm."""

    @abstractmethod
    def project(self, delta: Tensor, epsilon: Tensor) -> Tensor:
        """The nearest points within lengths epsilon > 0, in l2."""

    @abstractmethod
    def length(self, delta: Tensor) -> Tensor:
        """Norms in float64, never rounded down; infinite outside the pixels that may change."""

    def restrict(self, delta: Tensor) -> Tensor:
        """0 in the pixels that may not change."""
        return delta

    def per_l2(self, pixels: int) -> float:
        """The length, about, of a vector of length 1 in l2, for most directions."""
        return 1.0

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other)

    def __hash__(self) -> int:
        return hash(self.norm)


class L2Ball(Ball):
    """The Euclidean ball."""

    norm = "l2"

    def steepest(self, gradient: Tensor) -> Tensor:
        return gradient / self._norm(gradient)[:, None].clamp(min=torch.finfo(gradient.dtype).tiny)

    def slope(self, gradient: Tensor) -> Tensor:
        return self._norm(gradient)

    def project(self, delta: Tensor, epsilon: Tensor) -> Tensor:
        return delta * (epsilon / self._norm(delta).clamp(min=torch.finfo(delta.dtype).tiny)).clamp(max=1.0)[:, None]

    def length(self, delta: Tensor) -> Tensor:
        return self._norm(delta.double()) * _ROUNDED_UP

    def _norm(self, delta: Tensor) -> Tensor:
        return torch.linalg.vector_norm(delta, dim=1)


class L1Ball(Ball):
    """The cross-polytope: few pixels change, a little."""

    norm = "l1"

    def steepest(self, gradient: Tensor) -> Tensor:
        """Changes of the pixels with the largest derivatives, a twentieth of all, by what these are above all others'.

        A single one would be steepest, and have to be chosen anew in every step; equal ones would never become fewer.
        """
        sizes = gradient.abs()
        count = max(1, int(_SPARSE * gradient.shape[1]))
        others = sizes.topk(min(count + 1, gradient.shape[1]), dim=1).values[:, -1:]
        step = gradient.sign() * (sizes - others if count < gradient.shape[1] else sizes).clamp(min=0.0)
        return step / step.abs().sum(dim=1, keepdim=True).clamp(min=torch.finfo(step.dtype).tiny)

    def slope(self, gradient: Tensor) -> Tensor:
        return gradient.abs().amax(dim=1)

    def project(self, delta: Tensor, epsilon: Tensor) -> Tensor:
        """By sorting: J. Duchi, S. Shalev-Shwartz, Y. Singer, T. Chandra, "Efficient Projections onto the l1-Ball for
        Learning in High Dimensions", 2008."""
        sizes = delta.abs()
        ordered = sizes.sort(dim=1, descending=True).values
        excess = ordered.cumsum(dim=1) - epsilon[:, None]
        counts = torch.arange(1, delta.shape[1] + 1, device=delta.device)
        kept = (ordered * counts > excess).sum(dim=1, keepdim=True).clamp(min=1)
        threshold = (excess.gather(1, kept - 1) / kept).clamp(min=0.0)
        return delta.sign() * (sizes - threshold).clamp(min=0.0)

    def length(self, delta: Tensor) -> Tensor:
        return delta.double().abs().sum(dim=1) * _ROUNDED_UP

    def per_l2(self, pixels: int) -> float:
        return math.sqrt(max(1.0, 2.0 * pixels / math.pi))


class LinfBall(Ball):
    """The cube."""

    norm = "linf"

    def steepest(self, gradient: Tensor) -> Tensor:
        return gradient.sign()

    def slope(self, gradient: Tensor) -> Tensor:
        return gradient.abs().sum(dim=1)

    def project(self, delta: Tensor, epsilon: Tensor) -> Tensor:
        return torch.maximum(torch.minimum(delta, epsilon[:, None]), -epsilon[:, None])

    def length(self, delta: Tensor) -> Tensor:
        return delta.double().abs().amax(dim=1) * _ROUNDED_UP

    def per_l2(self, pixels: int) -> float:
        return math.sqrt(max(1.0, 2.0 * math.log(pixels)) / pixels)


class SubspaceBall(L2Ball):
    """The Euclidean ball of changes to some pixels only.

    Args:
        mask: (d,) bool, the pixels that may change.
    """

    norm = "l2_subspace"

    def __init__(self, mask: Tensor) -> None:
        self.mask = mask

    def restrict(self, delta: Tensor) -> Tensor:
        return delta * self.mask.to(delta)

    def steepest(self, gradient: Tensor) -> Tensor:
        return super().steepest(self.restrict(gradient))

    def slope(self, gradient: Tensor) -> Tensor:
        return super().slope(self.restrict(gradient))

    def project(self, delta: Tensor, epsilon: Tensor) -> Tensor:
        return super().project(self.restrict(delta), epsilon)

    def length(self, delta: Tensor) -> Tensor:
        outside = (delta != self.restrict(delta)).any(dim=1)
        return super().length(delta).masked_fill(outside, math.inf)

    def __eq__(self, other: object) -> bool:
        return super().__eq__(other) and torch.equal(self.mask, other.mask)

    __hash__ = Ball.__hash__


def ball_of(mechanism: Mechanism, shape: tuple[int, ...]) -> Ball:
    """The ball that the certificates of a mechanism for images of this shape are about.

    Raises:
        ValueError: a norm that is not known here, or a subspace whose mechanism does not say which: see
            `MohapatraChannel.mask`.
    """
    balls: dict[str, type[Ball]] = {"l2": L2Ball, "l1": L1Ball, "linf": LinfBall}
    if mechanism.norm in balls:
        return balls[mechanism.norm]()
    if mechanism.norm == "l2_subspace" and hasattr(mechanism, "mask"):
        return SubspaceBall(torch.from_numpy(mechanism.mask(shape)).flatten())
    raise ValueError(
        f"{mechanism.label or mechanism.name} certifies in {mechanism.norm}; attacked are l2, l1, linf, and "
        "l2_subspace where the mechanism has a method mask"
    )
