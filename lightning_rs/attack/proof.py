"""Prove that points break a claim: fresh draws at each, and an alpha that covers all that are tried."""

from __future__ import annotations

import math
from collections.abc import Iterator

from torch import Tensor

from lightning_rs.attack.balls import Ball
from lightning_rs.attack.claims import Claim
from lightning_rs.attack.settings import AttackSettings
from lightning_rs.noise import Noise, Purpose, RoundedGaussian
from lightning_rs.smoothing.plan import Plan
from lightning_rs.smoothing.sampler import Sampler


class Points:
    """The inputs at which a smoothed classifier can be asked: of noise on a grid those of the fine one.

    Args:
        noise: at points, see `off_grid`.
        image: (*shape), from which they are reached.
    """

    def __init__(self, noise: Noise, image: Tensor) -> None:
        self.image = image
        self._noise = noise

    def at(self, delta: Tensor) -> Tensor:
        """(points, *shape) the points nearest to image + delta (points, d) that are no further from the image."""
        if isinstance(self._noise, RoundedGaussian):
            steps = self._noise.fine.levels
            delta = (delta.double() * steps).trunc() / steps
            exact = self._noise.quantize(self.image)
        else:
            exact = self.image.double()
        return (exact.flatten() + delta).to(self.image.dtype).view(-1, *self.image.shape)

    def from_image(self, points: Tensor) -> Tensor:
        """(points, d) how far points are from the image, in float64; on a grid whole numbers of steps are subtracted,
        so that nothing cancels."""
        if isinstance(self._noise, RoundedGaussian):
            steps = self._noise.steps(points) - self._noise.steps(self.image)
            return (steps / self._noise.fine.levels).flatten(1)
        return (points.double() - self.image.double()).flatten(1)


class Proofs:
    """The points at which one claim about one image was tried to be refuted, and those at which it was.

    The k-th try spends alpha / (k (k + 1)), so that all together, however many there will be and wherever, a point is
    wrongly said to break the claim with probability at most alpha. The probability that a draw is inexact is part of
    it: see `Noise.sampling_error`.

    Args:
        sampler: the classifier, its noise at points, and how it is asked.
        settings: of the attack.
        points: of the image.
        addresses: numbers for the noise of tries, each used once.
        claim, prediction: what is tried to be refuted.
    """

    def __init__(
        self,
        sampler: Sampler,
        settings: AttackSettings,
        points: Points,
        addresses: Iterator[int],
        claim: Claim,
        prediction: int,
    ) -> None:
        self._sampler, self._settings, self._points, self._addresses = sampler, settings, points, addresses
        self.claim, self.prediction = claim, prediction
        self._plan = Plan((settings.n,), settings.n0, Purpose.ATTACK, fields=claim.fields)
        self._refuted: list[Tensor] = []
        self.tried = 0

    @property
    def alpha(self) -> float:
        """What the next try spends."""
        return self._settings.alpha / ((self.tried + 1) * (self.tried + 2))

    def refutes(self, delta: Tensor) -> bool:
        """Whether the claim is proved to be broken at the point at `delta` (d,) from the image."""
        point = self._points.at(delta[None])
        alpha = self.alpha - self._plan.sampling_error(self._sampler.noise, tuple(self._points.image.shape))
        self.tried += 1
        (sample,) = self._sampler.run([(next(self._addresses), point[0])], self._plan)
        # Answers that are no numbers are for no class; they are not counted for one here.
        if alpha <= 0.0 or sample.unanswered or not self.claim.refuted(sample, self.prediction, alpha):
            return False
        self._refuted.append(self._points.from_image(point)[0])
        return True

    def distance(self, ball: Ball) -> float:
        """How far the nearest point found that breaks the claim is, in the norm of a ball; infinite without one."""
        return min((float(ball.length(delta[None])) for delta in self._refuted), default=math.inf)
