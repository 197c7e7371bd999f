"""Certification of the majority vote by the Neyman-Pearson lemma, with one or with two confidence bounds."""

from __future__ import annotations

import math

from scipy import special

from lightning_rs.bounds import clopper_pearson_lower, clopper_pearson_upper
from lightning_rs.checks import check_known
from lightning_rs.mechanisms.base import Certificate, Mechanism, certificate_of_selected, top_and_rival
from lightning_rs.mechanisms.vote_pair import VotePairMechanism
from lightning_rs.radii.neyman_pearson import radius_from_quantiles
from lightning_rs.statistics import Statistics


class Cohen(Mechanism):
    """One-sided certification of the hard smoothed classifier in l2: CERTIFY of Cohen et al.

    R = sigma Phi^-1(p_lower) with p_lower the Clopper-Pearson lower bound, at the whole of alpha, on the probability
    of the class that the n0 selection votes chose; it abstains where p_lower <= 1/2. All rivals together have at most
    1 - p_lower, so no bound on them is needed. Sound as published.

    Args:
        norm: the norm of the certified ball. `l1`: the l1 ball of a radius lies within the l2 ball of that radius, and
            reaches it. `linf`: the cube reaches it at R / sqrt(d). These are what first-order mechanisms are compared
            with.
    """

    name = "cohen"
    same_sample = True
    source = (
        "J. Cohen, E. Rosenfeld, J. Z. Kolter, Certified Adversarial Robustness via Randomized Smoothing, 2019, "
        "Theorem 1 and CERTIFY"
    )

    def __init__(self, norm: str = "l2") -> None:
        self.norm = check_known("norm", norm, ("l2", "l1", "linf"))
        if norm == "linf":
            self.requires = frozenset({"counts", "input_shape"})

    def _certify(self, statistics: Statistics, alpha: float) -> Certificate:
        top, _ = top_and_rival(statistics)
        trials = statistics.trials
        # 1 - p_lower, formed without subtraction: at n = 1e9 it is about 1e-8 and carries the radius.
        rest = clopper_pearson_upper(trials - top, trials, alpha)
        quantile = -special.ndtri(rest)
        radius = radius_from_quantiles(quantile, -quantile, statistics.sigma)
        if self.norm == "linf":
            radius = radius / math.sqrt(math.prod(statistics.input_shape)) * (1.0 - 1e-15)
        return certificate_of_selected(statistics, radius, clopper_pearson_lower(top, trials, alpha))


class CohenTwoSided(VotePairMechanism):
    """Two-sided certification of the hard smoothed classifier in l2.

    R = sigma / 2 (Phi^-1(p_lower) - Phi^-1(p_upper)), with the Clopper-Pearson lower bound on the selected class at
    top_share * alpha and, at the rest of alpha, the Clopper-Pearson upper bound on the largest rival count, cut off at
    1 - p_lower. It also certifies classes below one half. Where the strongest rival has all of the other votes it is
    at most 0.004 sigma below `cohen` (n = 1e5, alpha = .001), elsewhere above it.

    The theorem is Cohen's, which leaves open how to bound the runner-up: see `vote_pair`.

    Args:
        top_share: share of alpha spent on the selected class, in (0, 1); fixed before the votes are seen.
    """

    name = "cohen_two_sided"
    same_sample = True
    source = (
        "J. Cohen, E. Rosenfeld, J. Z. Kolter, Certified Adversarial Robustness via Randomized Smoothing, 2019, "
        "Theorem 1; the runner-up bounded at the largest rival count"
    )

    def radius(self, pair, sigma):
        return radius_from_quantiles(-special.ndtri(pair.rest), special.ndtri(pair.upper), sigma)
