"""Base classifiers on the grid of images whose smoothed answers are sums over the grid.

They read one or two pixels, which are integers there: under noise on the grid each integer has a known probability, at
every real image, and so has every answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import optimize, special
from torch import Tensor

from lightning_rs.audit.claim import Claim
from lightning_rs.audit.known import KnownClassifier
from lightning_rs.noise import GridGaussian

_FURTHEST, _STEPS = 6.0, 120
"""How far, in sigma, and in how many steps, the first failure of a claim is looked for along a direction."""
_ANGLES, _ZOOMS = 48, 3


class Table(KnownClassifier):
    """Scores of every integer that one or two pixels can be.

    With L levels and an image x, pixel i is the integer k with probability
    Phi((k + 1/2 - L x_i) / (L sigma)) - Phi((k - 1/2 - L x_i) / (L sigma)), whatever real x: so votes, expected scores
    and margins at every x are sums. Where a claim first fails is searched for in the plane of the pixels; what is
    found is a point where it fails, so that a certificate beyond it is wrong for certain.

    Reading a table is no arithmetic: no precision and no preparation changes an answer.

    Args:
        logits: (A, K) or (A, B, K), of the integers from `lowest` on; those outside have the scores of the nearest.
        lowest: (pixels,) the first integers.
        pixels: (pixels,) which pixels, in the flat image.
        image: (*shape), on the grid.
        noise: see `GridGaussian`.
    """

    def __init__(
        self, logits: Tensor, lowest: Sequence[int], pixels: Sequence[int], image: Tensor, noise: GridGaussian
    ) -> None:
        super().__init__(noise, image, logits.shape[-1])
        sizes = torch.tensor(logits.shape[:-1])
        self.register_buffer("logits", logits.float().flatten(0, -2))
        self.register_buffer("lowest", torch.tensor(lowest))
        self.register_buffer("last", sizes - 1)
        self.register_buffer("stride", torch.tensor([*logits.shape[1:-1], 1]))
        self.register_buffer("pixels", torch.tensor(pixels))
        scores = torch.softmax(logits.float(), dim=-1).double().numpy()
        own = np.eye(self.num_classes, dtype=bool)
        rival = np.where(own, -np.inf, scores[..., None, :]).max(axis=-1)
        votes = own[logits.argmax(dim=-1).numpy()].astype(np.float64)
        self._values = {"vote": votes, "score": scores, "confidence": scores, "margin": scores - rival}
        self._place = np.rint(image.double().numpy().ravel()[list(pixels)] * noise.levels)
        # Upper edges of all integers but the last, which has the whole tail.
        self._edges = [a + 0.5 + np.arange(size - 1) for a, size in zip(lowest, logits.shape[:-1], strict=True)]

    def forward(self, rows: Tensor) -> Tensor:
        integers = (rows.flatten(1)[:, self.pixels] * self.noise.levels).round().long() - self.lowest
        return self.logits[(integers.clamp(min=0).minimum(self.last) * self.stride).sum(dim=1)]

    @property
    def votes(self) -> NDArray[np.float64]:
        return self._expected("vote", self._place[None])[0]

    def radius(self, c: int, claim: Claim) -> float:
        free = np.flatnonzero(claim.free.ravel()[self.pixels.cpu().numpy()])
        if self._slack(c, claim, self._place[None])[0] <= 0:
            return 0.0
        if not len(free):
            return np.inf
        steps = np.zeros((2, len(self._place)))
        steps[:, free[0]] = 1.0, -1.0
        if len(free) == 1:
            return self._distance(c, claim, steps).min() / self.noise.levels
        angles = np.arange(_ANGLES) * (2.0 * np.pi / _ANGLES)
        for _ in range(_ZOOMS):
            found = self._distance(c, claim, _directions(claim.norm, angles))
            width = angles[1] - angles[0]
            angles = angles[found.argmin()] + np.linspace(-width, width, 17)
        return found.min() / self.noise.levels

    def _distance(self, c: int, claim: Claim, steps: NDArray[np.float64]) -> NDArray[np.float64]:
        """(D,) how far along each of `steps` (D, pixels) the claim first fails, in steps of the grid, or infinite."""
        reach = np.linspace(0.0, _FURTHEST * self.noise.scale * self.noise.levels, _STEPS + 1)
        points = self._place + reach[1:, None, None] * steps
        fails = self._slack(c, claim, points.reshape(-1, len(self._place))).reshape(points.shape[:2]) <= 0
        ever, first = fails.any(axis=0), fails.argmax(axis=0)
        holds, failed = reach[first], reach[first + 1]
        for _ in range(50):
            middle = 0.5 * (holds + failed)
            lost = self._slack(c, claim, self._place + middle[:, None] * steps) <= 0
            holds, failed = np.where(lost, holds, middle), np.where(lost, middle, failed)
        return np.where(ever, failed, np.inf)

    def _slack(self, c: int, claim: Claim, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N,) by how much the claim holds at points (N, pixels), in steps of the grid."""
        expected = self._expected(claim.kind, points)
        if claim.kind in ("vote", "score"):
            return expected[:, c] - np.delete(expected, c, axis=1).max(axis=1)
        return expected[:, c] - claim.least

    def _expected(self, kind: str, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N, K) expectations of what a claim of this kind is about."""
        spread = self.noise.scale * self.noise.levels
        below = [special.ndtr((edges - points[:, i, None]) / spread) for i, edges in enumerate(self._edges)]
        probability = [np.diff(p, axis=1, prepend=0.0, append=1.0) for p in below]
        values = self._values[kind]
        if len(probability) == 1:
            return probability[0] @ values
        inner = (probability[1] @ values.transpose(1, 0, 2).reshape(len(values[0]), -1)).reshape(
            len(points), len(values), -1
        )
        return np.einsum("na,nak->nk", probability[0], inner)


def bands(cuts: Sequence[int], logits: Tensor, image: Tensor, noise: GridGaussian) -> Table:
    """Row j of `logits` (J + 1, K) where the image's first pixel has reached j of the J increasing integers `cuts`."""
    integers = np.arange(cuts[0] - 1, cuts[-1] + 1)
    rows = torch.from_numpy(np.searchsorted(cuts, integers, side="right"))
    return Table(logits[rows], [int(integers[0])], [0], image, noise)


def worst_region(
    r: float, multipliers: tuple[float, float, float], diagonal: bool, image: Tensor, noise: GridGaussian
) -> Table:
    """Class 1 where exp(r u - r^2 / 2) <= l0 + l1 u + l2 v, and class 0 beyond, of the image's first two pixels.

    u is what the noise adds along the direction of attack, v what it adds across it, both in units of sigma. Of all
    classifiers with the same probability and the same gradient this one loses class 1 fastest along u: what first-order
    certificates have to survive, see `lightning_rs.radii.first_order_dual`.

    Args:
        r: distance in sigma at which it is the worst.
        multipliers: l0, l1 and l2.
        diagonal: whether u is along the sum of the pixels, the direction of l-infinity, or along the first one.
        image, noise: as for `Table`.
    """
    reach = int(np.ceil(5.0 * noise.scale * noise.levels))
    integers = np.arange(-reach, reach + 1) / (noise.scale * noise.levels)
    u, v = np.meshgrid(integers, integers, indexing="ij")
    if diagonal:
        u, v = (u + v) / np.sqrt(2.0), (u - v) / np.sqrt(2.0)
    l0, l1, l2 = multipliers
    inside = torch.from_numpy(np.exp(r * u - 0.5 * r**2) <= l0 + l1 * u + l2 * v).float()
    place = (image.flatten()[:2] * noise.levels).round().long()
    return Table(torch.stack([1.0 - inside, inside], dim=-1), (place - reach).tolist(), [0, 1], image, noise)


def tuned(make: Callable[[float], KnownClassifier], c: int, share: float, low: float, high: float) -> KnownClassifier:
    """What `make` gives at the sigma in [low, high] at which the image gets `share` of its votes for class c.

    Images lie on a grid, and sigma does not: so every probability can be had.
    """
    return make(optimize.brentq(lambda sigma: make(sigma).votes[c] - share, low, high, xtol=1e-16, rtol=1e-14))


def _directions(norm: str, angles: NDArray[np.float64]) -> NDArray[np.float64]:
    """(D, 2) points at distance one from 0 in the plane."""
    points = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    order = {"l1": 1, "linf": np.inf}.get(norm, 2)
    return points / np.linalg.norm(points, ord=order, axis=1, keepdims=True)
