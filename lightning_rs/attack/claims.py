"""What a certificate claims of every point within its radius, and how a point is proved to break it."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import special
from torch import Tensor

from lightning_rs.bounds import (
    empirical_bernstein_lower,
    empirical_bernstein_upper,
    hoeffding_kl_upper,
    hoeffding_lower,
    top_class_p_value,
)
from lightning_rs.mechanisms import Mechanism
from lightning_rs.objectives.copies import log_mean
from lightning_rs.smoothing.sample import Sample
from lightning_rs.smoothing.tally import UNIT


class Claim(ABC):
    """What is said of the smoothed classifier at every point. A value: equal ones are the same claim.

    Attributes:
        fields: of `Statistics` that a proof reads beside the votes.
    """

    fields: ClassVar[frozenset[str]] = frozenset()

    @abstractmethod
    def margin(self, log_p: Tensor, prediction: int) -> Tensor:
        """(points,) how far points are from breaking the claim, from log-softmax scores (copies, points, classes).

        Differentiable, and below zero where the claim is broken, as far as these copies say; for hard votes, which have
        no gradient, it is that of their scores.
        """

    @abstractmethod
    def evidence(self, log_p: Tensor, prediction: int) -> Tensor:
        """(copies, points) numbers whose mean over all noise is above zero only where the claim is broken."""

    @abstractmethod
    def needed(self, deviation: float, n: int, alpha: float) -> float:
        """The mean of n draws' evidence, of this standard deviation, from which `refuted` says yes, about."""

    @abstractmethod
    def refuted(self, sample: Sample, prediction: int, alpha: float) -> bool:
        """Whether draws at a point prove that the claim is false there.

        Wrong with probability at most alpha. The rival is the class, other than the prediction, that has most of the
        selection votes, which are independent of the rest.
        """


@dataclass(frozen=True)
class MajorityVote(Claim):
    """P(f(x' + z) = A) is the largest: the claim of hard mechanisms."""

    def margin(self, log_p: Tensor, prediction: int) -> Tensor:
        return _log_ratio(log_p, prediction)

    def evidence(self, log_p: Tensor, prediction: int) -> Tensor:
        votes = torch.nn.functional.one_hot(log_p.argmax(dim=-1), log_p.shape[-1]).to(log_p.dtype)
        return _lead_of_rival(votes, prediction)

    def needed(self, deviation: float, n: int, alpha: float) -> float:
        return -float(special.ndtri(alpha)) * deviation / math.sqrt(n)

    def refuted(self, sample: Sample, prediction: int, alpha: float) -> bool:
        """A rival B has more: P(Bin(votes of both, 1/2) >= votes of B) <= alpha."""
        own, rival = sample.counts[[prediction, _rival(sample, prediction)]]
        return bool(top_class_p_value(rival, own + rival) <= alpha)


@dataclass(frozen=True)
class LargestScore(Claim):
    """E[score of A] is the largest: the claim of soft mechanisms."""

    fields = frozenset({"score_sum", "margin_square_sum"})

    def margin(self, log_p: Tensor, prediction: int) -> Tensor:
        return _log_ratio(log_p, prediction)

    def evidence(self, log_p: Tensor, prediction: int) -> Tensor:
        return _lead_of_rival(log_p.exp(), prediction)

    def needed(self, deviation: float, n: int, alpha: float) -> float:
        return _bernstein_width(deviation, n, alpha, 2.0)

    def refuted(self, sample: Sample, prediction: int, alpha: float) -> bool:
        """An empirical Bernstein bound on E[score of a rival B - score of A] lies above zero."""
        mean, variance, n = _half_lead(sample, prediction, _rival(sample, prediction))
        return n > 1 and bool(empirical_bernstein_lower(max(mean - UNIT, 0.0), variance, n, alpha) > 0.5)


@dataclass(frozen=True)
class KeptScore(Claim):
    """E[score of A] >= threshold: the claim of `kumar_score`."""

    threshold: float
    fields = frozenset({"score_sum", "score_square_sum"})

    def margin(self, log_p: Tensor, prediction: int) -> Tensor:
        return log_mean(log_p[..., prediction]) - math.log(self.threshold)

    def evidence(self, log_p: Tensor, prediction: int) -> Tensor:
        return self.threshold - log_p[..., prediction].exp()

    def needed(self, deviation: float, n: int, alpha: float) -> float:
        return _bernstein_width(deviation, n, alpha, 1.0)

    def refuted(self, sample: Sample, prediction: int, alpha: float) -> bool:
        """An empirical Bernstein bound on the expectation lies below the threshold."""
        n, total = int(sample.counts.sum()), sample.fields["score_sum"][prediction]
        if n < 2:
            return False
        variance = max((sample.fields["score_square_sum"][prediction] - total**2 / n) / (n - 1), 0.0) + UNIT
        return bool(empirical_bernstein_upper(min(total / n + UNIT, 1.0), variance, n, alpha) < self.threshold)


@dataclass(frozen=True)
class KeptMargin(Claim):
    """E[score of A - largest other score] >= threshold: the claim of `kumar_margin`."""

    threshold: float
    fields = frozenset({"score_sum", "margin_sum", "margin_square_sum"})

    def margin(self, log_p: Tensor, prediction: int) -> Tensor:
        return -self.evidence(log_p, prediction).mean(dim=0)

    def evidence(self, log_p: Tensor, prediction: int) -> Tensor:
        scores = log_p.exp()
        others = _without(scores, prediction, -1.0)
        return self.threshold - scores[..., prediction] + others.amax(dim=-1)

    def needed(self, deviation: float, n: int, alpha: float) -> float:
        return 2.0 * (1.0 - float(hoeffding_lower(1.0, n, alpha)))

    def refuted(self, sample: Sample, prediction: int, alpha: float) -> bool:
        """An upper bound on the expectation lies below the threshold.

        Where the selection votes chose A that of Hoeffding and KL divergence on the margins; elsewhere one on the lead
        over the rival that they chose, which is no smaller than the margin.
        """
        if sample.selected == prediction:
            n = int(sample.counts.sum())
            upper = hoeffding_kl_upper(np.clip((sample.fields["margin_sum"] / n + 1.0) / 2.0 + UNIT, 0, 1), n, alpha)
            return bool(2.0 * upper - 1.0 < self.threshold)
        mean, variance, n = _half_lead(sample, prediction, sample.selected)
        return n > 1 and bool(
            2.0 * empirical_bernstein_upper(min(1.0 - mean + UNIT, 1.0), variance, n, alpha) - 1.0 < self.threshold
        )


def claim_of(mechanism: Mechanism) -> Claim:
    """What the certificates of a mechanism claim.

    Raises:
        ValueError: it keeps something that is not known here.
    """
    if mechanism.keeps == "class" and mechanism.smoothing in ("hard", "soft"):
        return MajorityVote() if mechanism.smoothing == "hard" else LargestScore()
    kept = {"score": KeptScore, "margin": KeptMargin}
    if mechanism.keeps in kept:
        return kept[mechanism.keeps](mechanism.confidence)
    raise ValueError(
        f"{mechanism.label or mechanism.name} keeps the {mechanism.keeps} of a {mechanism.smoothing} classifier; what "
        "attacks know to break is the class, hard or soft, its score or its margin"
    )


def _bernstein_width(deviation: float, n: int, alpha: float, span: float) -> float:
    """How far an empirical Bernstein bound lies from the mean of numbers in an interval of this span."""
    # Of the largest mean, from which the bound is farthest before it is cut off.
    return span * (1.0 - float(empirical_bernstein_lower(1.0, (deviation / span) ** 2, max(n, 2), alpha)))


def _log_ratio(log_p: Tensor, prediction: int) -> Tensor:
    """Log of the expected score of A over the largest other one."""
    mean = log_mean(log_p)
    return mean[..., prediction] - _without(mean, prediction, -torch.inf).amax(dim=-1)


def _lead_of_rival(values: Tensor, prediction: int) -> Tensor:
    """(copies, points) value of the class with the largest mean beside A, minus that of A."""
    rival = _without(values.mean(dim=0), prediction, -torch.inf).argmax(dim=-1)
    return values.gather(-1, rival.expand(values.shape[:-1])[..., None])[..., 0] - values[..., prediction]


def _without(values: Tensor, prediction: int, least: float) -> Tensor:
    """Values with `least` in the place of A's."""
    place = torch.arange(values.shape[-1], device=values.device) == prediction
    return values.masked_fill(place, least)


def _rival(sample: Sample, prediction: int) -> int:
    votes: NDArray[np.int64] = sample.selection_counts.copy()
    votes[prediction] = -1
    return int(votes.argmax())


def _half_lead(sample: Sample, prediction: int, rival: int) -> tuple[float, float, int]:
    """Mean of (score of the rival - score of A + 1) / 2, its sample variance, and the number of draws.

    Squares are kept of differences with the selected class: it is the rival, or A.
    """
    n, sums = int(sample.counts.sum()), sample.fields["score_sum"]
    lead = sums[rival] - sums[prediction]
    square = sample.fields["margin_square_sum"][prediction if sample.selected == rival else rival]
    return (lead / n + 1.0) / 2.0, max((square - lead**2 / n) / max(n - 1, 1) / 4.0, 0.0) + UNIT, n
