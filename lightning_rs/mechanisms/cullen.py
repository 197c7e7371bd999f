"""Certification by differential privacy with the analytic Gaussian mechanism."""

from __future__ import annotations

from lightning_rs.mechanisms.score_pair import ScorePairMechanism
from lightning_rs.mechanisms.vote_pair import VotePairMechanism
from lightning_rs.radii.differential_privacy import analytic_gaussian_radius

_SOURCE = (
    "A. C. Cullen et al., It's Simplex! Disaggregating Measures to Improve Certified Robustness, 2023, equation 18"
)


class Cullen(VotePairMechanism):
    """`analytic_gaussian_radius` of the hard smoothed classifier, on the bounds of `cohen_two_sided`. l2.

    Sound as published, and never above `cohen_two_sided`: the published gains are over the one-sided `cohen`, which
    leaves the strongest rival out.
    """

    name = "cullen"
    source = _SOURCE

    def radius(self, pair, sigma):
        return analytic_gaussian_radius(pair.lower, pair.upper, sigma)


class CullenSoft(ScorePairMechanism):
    """`analytic_gaussian_radius` of the soft smoothed classifier, on the bounds of `salman`, never smaller. l2."""

    name = "cullen_soft"
    source = _SOURCE

    def radius(self, pair, sigma):
        return analytic_gaussian_radius(pair.lower, pair.upper, sigma)
