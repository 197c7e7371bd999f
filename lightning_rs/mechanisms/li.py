"""Certification by the Renyi divergence between shifted Gaussians."""

from __future__ import annotations

from lightning_rs.mechanisms.vote_pair import VotePairMechanism
from lightning_rs.radii.differential_privacy import renyi_radius


class Li(VotePairMechanism):
    """`renyi_radius` of the hard smoothed classifier, on the bounds of `cohen_two_sided`. l2.

    Sound as published, and never above `cohen_two_sided`, at most .92 of it for p_upper >= 1e-6: for reproducing
    published tables.
    """

    name = "li"
    source = "B. Li, C. Chen, W. Wang, L. Carin, Certified Adversarial Robustness with Additive Noise, 2018, Theorem 1"

    def radius(self, pair, sigma):
        return renyi_radius(pair.lower, pair.upper, sigma)
