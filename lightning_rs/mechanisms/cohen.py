"""Certification of the majority vote by the Neyman-Pearson lemma, with one or with two confidence bounds."""

from __future__ import annotations

import numpy as np
from scipy import special

from lightning_rs.bounds import clopper_pearson_lower, clopper_pearson_upper
from lightning_rs.mechanisms.base import Certificate, Mechanism, VoteStatistics, hard_certificate, top_and_rival
from lightning_rs.mechanisms.radius import radius_from_quantiles


class Cohen(Mechanism):
    """One-sided certification of the hard smoothed classifier in l2: CERTIFY of Cohen et al.

    R = sigma Phi^-1(p_lower) with p_lower the Clopper-Pearson lower bound, at the whole of alpha, on the probability
    of the class that the n0 selection votes chose; it abstains where p_lower <= 1/2. All rivals together have at most
    1 - p_lower, so no bound on them is needed. Sound as published.
    """

    name = "cohen"
    source = (
        "J. Cohen, E. Rosenfeld, J. Z. Kolter, Certified Adversarial Robustness via Randomized Smoothing, 2019, "
        "Theorem 1 and CERTIFY"
    )

    def _certify(self, statistics: VoteStatistics, alpha: float) -> Certificate:
        top, _ = top_and_rival(statistics)
        trials = statistics.trials
        # 1 - p_lower, formed without subtraction: at n = 1e9 it is about 1e-8 and carries the radius.
        rest = clopper_pearson_upper(trials - top, trials, alpha)
        quantile = -special.ndtri(rest)
        radius = radius_from_quantiles(quantile, -quantile, statistics.sigma)
        return hard_certificate(statistics, radius, clopper_pearson_lower(top, trials, alpha))


class CohenTwoSided(Mechanism):
    """Two-sided certification of the hard smoothed classifier in l2.

    R = sigma / 2 (Phi^-1(p_lower) - Phi^-1(p_upper)), with the Clopper-Pearson lower bound on the selected class at
    top_share * alpha and, at the rest of alpha, the Clopper-Pearson upper bound on the largest rival count, cut off at
    1 - p_lower. It certifies below p = 1/2 and, unanimous votes apart, at a cost of at most 0.004 sigma (n = 1e5)
    against `cohen` where the rivals share all that is left.

    The theorem is Cohen's; how to bound the runner-up is left open there. No correction for the number of classes is
    needed: the true runner-up is fixed, not random, given the selected class, and the bound at the largest rival count
    is at least the bound at the true runner-up's count, which alone has to hold.

    Args:
        top_share: share of alpha spent on the selected class, in (0, 1); fixed before the votes are seen.
    """

    name = "cohen_two_sided"
    source = (
        "J. Cohen, E. Rosenfeld, J. Z. Kolter, Certified Adversarial Robustness via Randomized Smoothing, 2019, "
        "Theorem 1; the runner-up bounded at the largest rival count"
    )

    def __init__(self, top_share: float = 0.9) -> None:
        if not 0.0 < top_share < 1.0:
            raise ValueError(f"top_share must lie in (0, 1), got {top_share}")
        self.top_share = float(top_share)

    def _certify(self, statistics: VoteStatistics, alpha: float) -> Certificate:
        top, rival = top_and_rival(statistics)
        trials = statistics.trials
        alpha_top = self.top_share * alpha
        # 1 - top_share may round up; the difference from alpha cannot exceed what is left.
        alpha_rival = alpha - alpha_top
        rest = clopper_pearson_upper(trials - top, trials, alpha_top)
        p_upper = np.minimum(clopper_pearson_upper(rival, trials, alpha_rival), rest)
        radius = radius_from_quantiles(-special.ndtri(rest), special.ndtri(p_upper), statistics.sigma)
        return hard_certificate(statistics, radius, clopper_pearson_lower(top, trials, alpha_top), p_upper)
