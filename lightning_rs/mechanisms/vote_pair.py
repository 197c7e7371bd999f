"""The pair of bounds on hard votes."""

from __future__ import annotations

import numpy as np

from lightning_rs.bounds import clopper_pearson_lower, clopper_pearson_upper
from lightning_rs.mechanisms.base import check_share, top_and_rival
from lightning_rs.mechanisms.pair import PairMechanism
from lightning_rs.radii.pair import ProbabilityPair
from lightning_rs.statistics import Statistics


def vote_pair(statistics: Statistics, alpha: float, top_share: float) -> ProbabilityPair:
    """Clopper-Pearson bounds on hard votes, valid together with probability 1 - alpha.

    `lower` bounds the selected class at top_share * alpha; `upper` every other class at the rest of alpha, at the
    largest rival count.

    No correction for the number of classes is needed: given the selected class the true runner-up is fixed, not random,
    and the bound at the largest rival count is at least the bound at the true runner-up's, which alone has to hold.
    """
    top, rival = top_and_rival(statistics)
    trials = statistics.trials
    alpha_top = top_share * alpha
    rest = clopper_pearson_upper(trials - top, trials, alpha_top)
    upper = np.minimum(clopper_pearson_upper(rival, trials, alpha - alpha_top), rest)
    return ProbabilityPair(clopper_pearson_lower(top, trials, alpha_top), upper, rest)


class VotePairMechanism(PairMechanism):
    """A radius of the bounds of `vote_pair`. Hard.

    Args:
        top_share: share of alpha spent on the selected class, in (0, 1).
    """

    def __init__(self, top_share: float = 0.9) -> None:
        self.top_share = check_share("top_share", top_share)

    def pair(self, statistics: Statistics, alpha: float) -> ProbabilityPair:
        return vote_pair(statistics, alpha, self.top_share)
