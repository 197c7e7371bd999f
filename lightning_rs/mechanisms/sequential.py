"""Certification that draws until it is known at which radii of interest the example is certified."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import special

from lightning_rs.bounds import (
    clopper_pearson_lower,
    sequential_lower,
    sequential_thresholds,
    union_bound_schedule,
    union_bound_thresholds,
)
from lightning_rs.checks import as_number, check_alpha, shown
from lightning_rs.mechanisms.base import Certificate, Mechanism, certificate_of_selected
from lightning_rs.radii.neyman_pearson import radius_from_quantiles
from lightning_rs.statistics import Statistics


def betting_looks(n: int) -> NDArray[np.int64]:
    """Numbers of draws after which to look, the last of them n: 25, 50, ... with steps of at most an eighth.

    Betting may be looked at after every draw. Fewer looks let batches be cut into long rows of one example, and cost at
    most an eighth of the draws.
    """
    looks = [25]
    while looks[-1] < n:
        looks.append(looks[-1] + 25 * -(-looks[-1] // 200))
    return np.array([*looks[:-1], n], dtype=np.int64)


class StoppingRule:
    """Integer thresholds, at increasing numbers of draws, that tell whether more draws are needed.

    A radius r is certified once the successes (votes for the selected class) reach a count that rejects every
    probability <= Phi(r / sigma). It is given up once the predicted probability that they are enough at the last look
    is below `refusal`, but not before 100 draws unless it is impossible. Predicted: the failures to come are a
    beta-binomial number given those so far (Jeffreys' prior), here a gamma variable of its mean and variance. Giving
    up never harms a certificate, however rough the prediction.

    Args:
        looks: (L,) increasing numbers of draws.
        certify: (R, L) the least successes that certify each radius; more than `looks` where none do.
        refusal: predicted probability below which a radius is given up.
    """

    def __init__(self, looks: NDArray[np.int64], certify: NDArray[np.int64], refusal: float) -> None:
        self.looks, self.certify = looks, certify
        allowed = (looks - certify)[:, -1:]
        # A few early failures say little about an image, whatever the prior says.
        hopeless = np.where(looks < 100, allowed + 1, _hopeless_failures(looks, allowed, refusal))
        self.refuse = looks - hopeless

    def finished(self, path: Sequence[tuple[int, int]]) -> bool:
        """Whether each radius is certified or given up, from (successes, draws) at the looks so far, all of them."""
        successes, draws = np.array(path, dtype=np.int64).T
        place = np.searchsorted(self.looks, draws)
        seen = (place < len(self.looks)) & (self.looks[np.minimum(place, len(self.looks) - 1)] == draws)
        place, successes = place[seen], successes[seen]
        decided = (successes >= self.certify[:, place]) | (successes <= self.refuse[:, place])
        return bool(decided.any(axis=1).all())


def _hopeless_failures(looks: NDArray[np.int64], allowed: NDArray[np.int64], refusal: float) -> NDArray[np.int64]:
    """(R, L) the fewest failures at each look with which at most `allowed` (R, 1) at the last look are unlikely."""
    n, last = looks.astype(np.float64), float(looks[-1])
    left = np.maximum(last - n, 1e-9)
    low, high = np.broadcast_arrays(np.full(n.shape, -1.0), np.minimum(n, allowed) + 1.0)
    while np.any(high - low > 1):
        failures = np.floor((low + high) / 2.0)
        rate = (np.maximum(failures, 0.0) + 0.5) / (n + 1.0)
        mean = left * rate
        variance = mean * (1.0 - rate) * (last + 1.0) / (n + 2.0)
        chance = special.gammainc(mean**2 / variance, np.maximum(allowed - failures + 0.5, 0.0) * mean / variance)
        searching = high - low > 1
        low, high = (
            np.where(searching & (chance >= refusal), failures, low),
            np.where(searching & (chance < refusal), failures, high),
        )
    return high.astype(np.int64)


class SequentialMechanism(Mechanism):
    """Certifies in l2 with a lower confidence limit that holds at all of its looks at once.

    R = sigma Phi^-1(L), where L is the largest limit so far on the probability of the class that the selection votes
    chose; it abstains where L <= 1/2. Drawing may stop at any look, for any reason.

    Args:
        refusal: a radius is given up when the predicted probability that n draws certify it falls below this. Larger
            values save draws and lose some certificates; those that are given hold whatever it is.
    """

    requires: ClassVar[frozenset[str]] = frozenset({"counts", "look_counts"})

    def __init__(self, refusal: float = 0.03) -> None:
        if not 0.0 <= as_number(refusal) < 1.0:
            raise ValueError(f"refusal must lie in [0, 1), got {shown(refusal)}")
        self.refusal = float(refusal)

    def stopping_rule(self, radii: Sequence[float], sigma: float, n: int, alpha: float) -> StoppingRule:
        """When to stop: each of the l2 `radii` is certified or given up, or n draws are made.

        Raises:
            ValueError: n too small to certify even the smallest radius.
        """
        alpha = check_alpha(alpha)
        quantile = np.asarray(radii, dtype=np.float64) / sigma
        # A little larger than asked for, so that rounding does not put the reported radius below it.
        share, rest = special.ndtr(quantile), special.ndtr(-quantile) * (1.0 - 1e-9)
        share = np.minimum(np.where(quantile > 1.0, 1.0 - rest, share * (1.0 + 1e-9)), 1.0 - 1e-16)
        looks = self._looks(n)
        certify = self._thresholds(share, looks, alpha)
        if not np.any(certify <= looks):
            raise ValueError(
                f"{self.label or self.name} cannot certify any of the radii {list(radii)} with n = {n} draws at "
                f"alpha = {alpha:g}: take a larger n or smaller radii"
            )
        return StoppingRule(looks, certify, self.refusal)

    @abstractmethod
    def _looks(self, n: int) -> NDArray[np.int64]:
        """Numbers of draws up to n after which to look."""

    @abstractmethod
    def _thresholds(self, p: NDArray[np.float64], looks: NDArray[np.int64], alpha: float) -> NDArray[np.int64]:
        """(R, L) least successes that reject every proportion <= p."""

    @abstractmethod
    def _limits(self, successes: NDArray[np.int64], draws: NDArray[np.int64], alpha: float) -> NDArray[np.float64]:
        """Lower limits at looks."""

    def _abstains(self, trials: int, alpha: float) -> bool:
        looks = self._looks(trials)
        return not np.any(self._limits(looks, looks, alpha) > 0.5)

    def _certify(self, statistics: Statistics, alpha: float) -> Certificate:
        successes, draws = np.moveaxis(statistics.look_counts, 2, 0)
        p_lower = self._limits(successes, draws, alpha).max(axis=1, initial=0.0)
        quantile = -special.ndtri(1.0 - p_lower)
        return certificate_of_selected(
            statistics, radius_from_quantiles(quantile, -quantile, statistics.sigma), p_lower
        )


class SequentialBetting(SequentialMechanism):
    """`SequentialMechanism` by betting, with looks after 25, 50, ... draws that grow by an eighth at most.

    The gambler's wealth is the mixture over all larger probabilities, see `lightning_rs.bounds.sequential_log_wealth`.
    All radii share one alpha, see `lightning_rs.bounds.sequential_lower`; alpha is at most 0.4. Sound. The published
    code (`RS_conf_seq`) mixes over all probabilities and rejects at half of the wealth that Ville's inequality asks
    for. That is not proved. By exact enumeration it errs with less than alpha for the probabilities of one half or more
    that were tried, and a radius asks about no others; below one half it may exceed alpha, at .08 with 1.14 alpha. See
    `lightning_rs.bounds.sequential_log_wealth`.
    """

    name = "sequential_betting"
    source = (
        "V. Voracek, Treatment of Statistical Estimation Problems in Randomized Smoothing for Adversarial Robustness, "
        "2024; the mixture restricted to larger probabilities"
    )

    def _looks(self, n: int) -> NDArray[np.int64]:
        return betting_looks(n)

    def _thresholds(self, p: NDArray[np.float64], looks: NDArray[np.int64], alpha: float) -> NDArray[np.int64]:
        return sequential_thresholds(p[:, None], looks, alpha)

    def _limits(self, successes: NDArray[np.int64], draws: NDArray[np.int64], alpha: float) -> NDArray[np.float64]:
        return sequential_lower(successes, draws, alpha)


class SequentialUnion(SequentialMechanism):
    """`SequentialMechanism` by Clopper-Pearson bounds at scheduled looks whose alphas add up.

    The schedule is that of `lightning_rs.bounds.union_bound_schedule`. It needs more draws than `sequential_betting`.
    Sound.
    """

    name = "sequential_union"
    source = (
        "V. Voracek, Treatment of Statistical Estimation Problems in Randomized Smoothing for Adversarial Robustness, "
        "2024"
    )

    def _looks(self, n: int) -> NDArray[np.int64]:
        return np.unique(union_bound_schedule(n, 0.5)[0])

    def _thresholds(self, p: NDArray[np.float64], looks: NDArray[np.int64], alpha: float) -> NDArray[np.int64]:
        times, counts = union_bound_thresholds(p, int(looks[-1]), alpha)
        # Where two looks fall on the same draw, the first has the larger share of alpha.
        return counts[:, np.unique(times, return_index=True)[1]]

    def _limits(self, successes: NDArray[np.int64], draws: NDArray[np.int64], alpha: float) -> NDArray[np.float64]:
        times, levels = union_bound_schedule(max(int(draws.max(initial=0)), 1), alpha)
        if not len(times):
            return np.zeros(draws.shape)
        times, first = np.unique(times, return_index=True)
        place = np.minimum(np.searchsorted(times, draws), len(times) - 1)
        limits = clopper_pearson_lower(successes, np.maximum(draws, 1), levels[first][place])
        return np.where(times[place] == draws, limits, 0.0)
