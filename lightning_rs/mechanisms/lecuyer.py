"""PixelDP: certification by differential privacy with the classical Gaussian mechanism."""

from __future__ import annotations

from lightning_rs.mechanisms.score_pair import ScorePairMechanism
from lightning_rs.mechanisms.vote_pair import VotePairMechanism
from lightning_rs.radii.differential_privacy import lecuyer_radius

_SOURCE = (
    "M. Lecuyer et al., Certified Robustness to Adversarial Examples with Differential Privacy, 2018, Proposition 1"
)


class Lecuyer(VotePairMechanism):
    """`lecuyer_radius` of the hard smoothed classifier, on the bounds of `cohen_two_sided`. l2.

    Sound as published, and never above `cohen_two_sided`, at most .70 of it for p_lower >= .01: for reproducing
    published tables.
    """

    name = "lecuyer"
    source = _SOURCE

    def radius(self, pair, sigma):
        return lecuyer_radius(pair.lower, pair.upper, sigma)


class LecuyerSoft(ScorePairMechanism):
    """`lecuyer_radius` of the soft smoothed classifier, on the bounds of `salman`, which is never smaller. l2."""

    name = "lecuyer_soft"
    source = _SOURCE

    def radius(self, pair, sigma):
        return lecuyer_radius(pair.lower, pair.upper, sigma)
