"""Certification of a changed classifier from the votes of the one before and the draws on which they differ."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from lightning_rs.bounds import clopper_pearson_lower, clopper_pearson_upper
from lightning_rs.checks import check_inside
from lightning_rs.mechanisms.base import Certificate, Mechanism, certificate_of_selected, check_share, top_and_rival
from lightning_rs.radii.neyman_pearson import radius_from_quantiles
from lightning_rs.statistics import Statistics

# Far above what float64 rounds in one sum of two numbers below one.
_ROUNDING = 1e-15


class Ugare(Mechanism):
    """Certification of the hard smoothed classifier of f', a changed f, in l2 from the votes of f. Hard.

    P(f' = A) >= P(f = A) - zeta with zeta = P(f = A, f' != A), A the class that f's selection votes chose. So

        R = sigma Phi^-1(p_lower - zeta_upper) if p_lower - zeta_upper > 1/2, else abstain,

    with Clopper-Pearson bounds p_lower of f's n votes at `share` alpha, and zeta_upper of the n' new draws that both
    answered at the rest. Above one half A is the top class of f', whatever other votes f' has. Where f's votes are at
    least `gamma` n, f' answers n' new draws alone, and R is `cohen`'s of these at all of alpha: p_lower can fail only
    where votes are many, and there it is not used. docs/incremental.md has the proof, for new draws that are
    independent of those of f.

    Of the paper it differs in zeta, which there is P(f != f'), in that A has to lead, and in what the choice may cost.

    Args:
        gamma: least share of f's votes from which on f' answers alone, in (1/2, 1); fixed before the votes are seen.
        share: share of alpha spent on f's votes, in (0, 1); fixed before the votes are seen.
    """

    name = "ugare"
    requires = frozenset({"counts", "selection_counts", "prior_counts", "paired_counts"})
    source = (
        "S. Ugare, T. Suresh, D. Banerjee, G. Singh, S. Misailovic, Incremental Randomized Smoothing Certification, "
        "2024, Theorem 2; one-sided disagreement, the split of alpha and the proof of the choice are ours"
    )

    def __init__(self, gamma: float = 0.99, share: float = 0.5) -> None:
        self.gamma = check_inside("gamma", gamma, 0.5, 1.0)
        self.share = check_share("share", share)

    def alone(self, votes: ArrayLike, draws: ArrayLike) -> NDArray[np.bool_]:
        """Whether f' answers its draws alone, from f's votes for the class; monotone in these, as the proof asks."""
        return np.asarray(votes) >= self.gamma * np.asarray(draws)

    def check_stochastic(self) -> None:
        """See `Mechanism.check_stochastic`: pairs of random answers are not implemented."""
        raise ValueError(f"{self.label or self.name} compares the answers of two classifiers, and takes no random ones")

    def _certify(self, statistics: Statistics, alpha: float) -> Certificate:
        votes, draws = statistics.prior_counts.T
        lost, paired = statistics.paired_counts.T
        alone = self.alone(votes, draws)
        if not np.array_equal(alone, paired == 0):
            raise ValueError(
                f"{self.label or self.name} needs draws that were made by its own gamma = {self.gamma:g}: others are "
                "paired"
            )
        top, _ = top_and_rival(statistics)
        trials = statistics.trials
        of_votes = self.share * alpha
        of_change = np.nextafter(alpha - of_votes, 0.0)
        zeta = clopper_pearson_upper(lost, np.maximum(paired, 1), of_change)
        # 1 - p, formed without subtraction, which carries the radius where p is near one.
        rest = np.where(
            alone,
            clopper_pearson_upper(trials - top, trials, alpha),
            (clopper_pearson_upper(draws - votes, draws, of_votes) + zeta) * (1.0 + _ROUNDING),
        )
        lower = np.where(
            alone,
            clopper_pearson_lower(top, trials, alpha),
            np.maximum(clopper_pearson_lower(votes, draws, of_votes) - zeta - _ROUNDING, 0.0),
        )
        quantile = -special.ndtri(np.minimum(rest, 1.0))
        return certificate_of_selected(
            statistics, radius_from_quantiles(quantile, -quantile, statistics.sigma), lower
        )
