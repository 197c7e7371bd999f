"""Attack the certificates of images: examples in, outcomes out."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterable, Iterator, Mapping
from functools import cache

import torch
from torch import Tensor, nn

from lightning_rs.attack.balls import Ball, ball_of
from lightning_rs.attack.claims import claim_of
from lightning_rs.attack.descent import descend
from lightning_rs.attack.directions import Surroundings, by_answers, by_gradient, method_for
from lightning_rs.attack.outcome import Attacked, Example, Outcome
from lightning_rs.attack.proof import Points, Proofs
from lightning_rs.attack.settings import AttackSettings
from lightning_rs.mechanisms import ABSTAIN, Mechanism
from lightning_rs.noise import Noise, NoiseSource, Purpose, off_grid
from lightning_rs.smoothing.classifier import device_of
from lightning_rs.smoothing.sampler import Sampler, evaluating

# Points of one image, at most: their noise is addressed by index times this, and their number.
_ADDRESSES = 2**20
# Points within a ball are so much nearer than its radius.
_INSIDE = 1.0 - 1e-4
# Random starts lie so far from the image, in radii.
_START = 0.5
# Deviations of a screening from which a point within the radius is worth a proof, and beyond what a proof needs.
_PROMISING, _SPARE = 1.0, 0.5
# Draws of a screening, of those of a proof.
_SCREENING = 0.25
# Ways to points that may be broken differ by such factors; below such a part none is told from the image itself.
_GROWTH, _LEAST = 1.1, 0.01
# Where a proof fails a way longer by this part is tried, then by twice as much, so often: a screening may be off by far
# where evidence grows slowly. One is worth a proof if it is so much shorter than a proved one.
_LONGER, _TRIES, _SHORTER = 0.04, 4, 0.98
# Descents to the nearest point: the second one knows where votes change, which scores only approximate.
_DESCENTS = 2


def attack_examples(
    base_classifier: nn.Module,
    num_classes: int,
    noise: Noise,
    mechanisms: Mapping[str, Mechanism],
    examples: Iterable[Example],
    settings: AttackSettings,
    *,
    stochastic: bool = False,
) -> Iterator[Outcome]:
    """Attack the certificates of every example: one outcome each, in their order, as soon as it is finished.

    Points within the radii are searched for those at which the claims of the certificates are broken, and further ones
    for the nearest; what is reported was proved there by fresh draws. Mechanisms that claim the same of the same class
    share their points, and in the same norm the search. An outcome depends on the example, the classifier, the
    mechanisms and the settings, not on the other examples.

    Args:
        base_classifier: images in, scores out; as it was certified.
        num_classes: number of classes.
        noise: under which it was certified. Points between the levels of a grid are asked about as `RoundedGaussian`
            says.
        mechanisms: by label.
        examples: their certificates are of some of these mechanisms.
        settings: how hard to try.
        stochastic: the base classifier answers at random, to each row by itself.

    Raises:
        ValueError: a mechanism whose claim or norm is not known, noise that is not known between its levels, an image
            that is not on them; see `Sampler.run`; or gradients are wanted of a base classifier that has none.
    """
    for mechanism in mechanisms.values():
        claim_of(mechanism)
    around = off_grid(noise)
    device = device_of(base_classifier)
    rows = min(settings.batch_size, max(settings.n0 + settings.n, settings.starts * settings.copies))
    sampler = Sampler(base_classifier, num_classes, around, rows, settings.seed, device, stochastic=stochastic)
    return _outcomes(sampler, noise, mechanisms, examples, settings)


def _outcomes(
    sampler: Sampler,
    noise: Noise,
    mechanisms: Mapping[str, Mechanism],
    examples: Iterable[Example],
    settings: AttackSettings,
) -> Iterator[Outcome]:
    source: NoiseSource | None = None
    for example in examples:
        try:
            noise.check_input(example.image)
        except ValueError as error:
            raise ValueError(f"example {example.index}: {error}") from None
        if unknown := [label for label in example.certificates if label not in mechanisms]:
            raise ValueError(f"example {example.index} has certificates of {unknown[0]}, whose mechanism is not given")
        shape, dtype = tuple(example.image.shape), example.image.dtype
        if source is None or (source.shape, source.dtype) != (shape, dtype):
            source = sampler.noise.source(settings.seed, shape, dtype, sampler.device, Purpose.ATTACK)
        with evaluating(sampler.base_classifier):
            outcome = ImageAttack(sampler, source, settings, example).outcome(mechanisms)
        yield outcome


class ImageAttack:
    """The attack on the certificates of one image.

    Args:
        sampler: the classifier, its noise at points, and how it is asked.
        source: of the noise of the search.
        settings: how hard to try.
        example: the image.
    """

    def __init__(self, sampler: Sampler, source: NoiseSource, settings: AttackSettings, example: Example) -> None:
        self._sampler, self._settings, self._example = sampler, settings, example
        self._image = example.image.detach().to(sampler.device)
        self._addresses = itertools.count(example.index * _ADDRESSES)
        self._around = Surroundings(sampler, source, next(self._addresses))
        self._points = Points(sampler.noise, self._image)
        self._screening = max(1, math.ceil(_SCREENING * settings.n))

    def outcome(self, mechanisms: Mapping[str, Mechanism]) -> Outcome:
        """What was found about the certificates of these mechanisms."""
        start = time.perf_counter()
        shape = tuple(self._image.shape)
        certified = {label: c for label, c in self._example.certificates.items() if c.prediction != ABSTAIN}
        balls = {label: ball_of(mechanisms[label], shape) for label in certified}
        claims = {label: (claim_of(mechanisms[label]), c.prediction) for label, c in certified.items()}
        how = (self._sampler, self._settings, self._points, self._addresses)
        proofs = {about: Proofs(*how, *about) for about in dict.fromkeys(claims.values())}
        method = self._settings.method
        if proofs:
            method = method_for(method, self._around, *next(iter(proofs)), self._image)
        for about, found in proofs.items():
            alike = [label for label in certified if claims[label] == about]
            for ball in dict.fromkeys(balls[label] for label in alike):
                radius = max(certified[label].radius for label in alike if balls[label] == ball)
                self._search(found, ball, radius, method)
        return Outcome(
            index=self._example.index,
            label=self._example.label,
            attacked={
                label: Attacked(c.prediction, c.radius, proofs[claims[label]].distance(balls[label]))
                for label, c in certified.items()
            },
            points=sum(found.tried for found in proofs.values()),
            method=method,
            seconds=time.perf_counter() - start,
        )

    def _search(self, proofs: Proofs, ball: Ball, radius: float, method: str) -> None:
        """Try to prove a point within the radius, and the nearest ones wherever they are."""
        settings, image = self._settings, self._image
        gradients = by_gradient if method == "gradient" else by_answers
        margins = gradients(self._around, proofs.claim, proofs.prediction, settings.copies)
        furthest = settings.furthest * self._sampler.noise.scale * ball.per_l2(image.numel())
        furthest = max(furthest, _GROWTH * radius)
        delta, values = descend(margins, ball, image, *self._starts(ball, radius), settings.steps)
        nearest = delta[values.argmin()]
        mean, deviation = self._evidence(proofs, nearest)
        if mean * math.sqrt(settings.n) >= _PROMISING * deviation:
            proofs.refutes(nearest)
        level, found = 0.0, []
        for _ in range(_DESCENTS):
            epsilon = ball.length(nearest[None]).to(image.dtype).clamp(min=_LEAST * furthest)
            nearest = descend(
                margins, ball, image, nearest[None], epsilon, settings.steps, furthest=furthest, level=level
            )[0][0]
            way = self._way(proofs, ball, nearest, furthest)
            if way is None:
                break
            nearest = way * nearest
            found.append(nearest)
            level = float(proofs.claim.margin(self._screened(nearest), proofs.prediction))
        for delta in sorted(found, key=lambda delta: float(ball.length(delta[None]))):
            if self._prove(proofs, ball, delta, furthest):
                break

    def _starts(self, ball: Ball, radius: float) -> tuple[Tensor, Tensor]:
        """The image and random points around it, from it; and the sizes of the balls within which they stay."""
        epsilon = self._image.new_full((self._settings.starts,), _INSIDE * radius)
        draws, _ = self._around.copies(torch.zeros_like(self._image)[None], self._settings.starts)
        random = ball.restrict(draws[0].flatten(1))
        delta = random * (_START * epsilon / ball.length(random).to(random.dtype))[:, None]
        delta[0] = 0.0
        return delta, epsilon

    def _prove(self, proofs: Proofs, ball: Ball, delta: Tensor, furthest: float) -> bool:
        """Whether the point at delta (d,), or one a little further, is proved, or is no nearer than one that was."""
        for attempt in range(_TRIES):
            length = float(ball.length(delta[None]))
            if length > _SHORTER * proofs.distance(ball):
                return True
            if length > furthest:
                return False
            if proofs.refutes(delta):
                return True
            delta = (1.0 + 2**attempt * _LONGER) * delta
        return False

    def _way(self, proofs: Proofs, ball: Ball, delta: Tensor, furthest: float) -> float | None:
        """How much of delta (d,) to go until a proof should succeed; None if going as far as one may is not enough."""
        length = float(ball.length(delta[None]))
        if not length:  # Nothing leads away from the image, at which a proof was tried.
            return None
        most = furthest / length
        first = self._around.reserve(self._screening)

        @cache
        def missing(way: float) -> float:
            mean, deviation = self._evidence(proofs, way * delta, first)
            spare = _SPARE * deviation / math.sqrt(self._settings.n)
            return proofs.claim.needed(deviation, self._settings.n, proofs.alpha) + spare - mean

        high = 1.0
        while missing(high) > 0.0:
            if high >= most:
                return None
            high = min(_GROWTH * high, most)
        low = high / _GROWTH
        while missing(low) <= 0.0:
            if low < _LEAST:
                return low
            low, high = low / _GROWTH, low
        # As evidence grows about in proportion between such near points, no more of them need be asked about.
        return low + (high - low) * missing(low) / (missing(low) - missing(high))

    def _evidence(self, proofs: Proofs, delta: Tensor, first: int | None = None) -> tuple[float, float]:
        """Mean and standard deviation of the evidence at delta (d,), as a screening estimates them."""
        evidence = proofs.claim.evidence(self._screened(delta, first), proofs.prediction)[:, 0].double()
        # At least that of one draw, so that agreement is no certainty.
        return float(evidence.mean()), math.sqrt(float(evidence.var(unbiased=False)) + 1.0 / len(evidence))

    def _screened(self, delta: Tensor, first: int | None = None) -> Tensor:
        return self._around.screened(self._points.at(delta[None]), self._screening, first)
