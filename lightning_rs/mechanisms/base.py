"""The contract of a certification mechanism: statistics in, certificates out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from lightning_rs.checks import check_alpha

ABSTAIN = -1
"""The prediction of a mechanism that cannot name the smoothed classifier's class."""


class VoteStatistics(Protocol):
    """What a mechanism on hard votes reads of `lightning_rs.smoothing.Statistics`, for B examples and K classes."""

    sigma: float
    counts: NDArray[np.int64]

    @property
    def trials(self) -> NDArray[np.int64]: ...

    @property
    def selected(self) -> NDArray[np.int64]: ...

    @property
    def same_sample_selection(self) -> bool: ...


@dataclass(frozen=True)
class Certificate:
    """What a mechanism proves about B examples, each with probability at least 1 - alpha.

    Attributes:
        prediction: (B,) int64, the certified class, or `ABSTAIN`.
        radius: (B,) float64, the smoothed classifier answers `prediction` everywhere in the open ball of this radius;
            0 where the mechanism abstains. Never rounded up.
        p_lower: (B,) float64, lower bound on the probability of the selected class, where the mechanism has one.
        p_upper: (B,) float64, upper bound on the probability of every other class, where the mechanism has one.
    """

    prediction: NDArray[np.int64]
    radius: NDArray[np.float64]
    p_lower: NDArray[np.float64] | None = None
    p_upper: NDArray[np.float64] | None = None


class Mechanism:
    """A procedure that turns the statistics of the noisy draws into a prediction and a certified radius.

    Attributes:
        name: the registry's name.
        norm: the norm of the certified ball: `l2`, `l1`, `linf` or `l2_subspace`.
        requires: the fields of `Statistics` that it reads.
        sound: True, or False with the reason in `unsound_because` for procedures kept as published.
        source: authors, title, year.
    """

    name: ClassVar[str]
    norm: ClassVar[str] = "l2"
    requires: ClassVar[frozenset[str]] = frozenset({"counts"})
    sound: ClassVar[bool] = True
    unsound_because: ClassVar[str] = ""
    source: ClassVar[str]

    def certify(self, statistics: VoteStatistics, alpha: float) -> Certificate:
        """Certify every example of `statistics` with failure probability at most `alpha` each.

        Raises:
            ValueError: alpha outside (0, 1).
        """
        alpha = check_alpha(alpha)
        if statistics.same_sample_selection:
            # The class was picked by the votes that also certify it: a wrong class may be picked because its count is
            # high by chance. Half of alpha covers that for any number of classes.
            alpha /= 2.0
        return self._certify(statistics, alpha)

    def _certify(self, statistics: VoteStatistics, alpha: float) -> Certificate:
        raise TypeError(f"{type(self).__name__} must define _certify")

    def minimum_trials(self, alpha: float) -> int:
        """The least n at which unanimous votes are certified at `alpha`; with fewer the mechanism always abstains."""
        # A class with alpha ** (1 / n) > 1/2 is certified by every mechanism that is exact on unanimous votes, and
        # none certifies less; doubling finds an n that works, and bisection the least.
        high = 1
        while self._abstains(high, alpha):
            high *= 2
        low = high // 2
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self._abstains(middle, alpha) else (low, middle)
        return high

    def _abstains(self, trials: int, alpha: float) -> bool:
        return self.certify(_Unanimous(trials), alpha).prediction[0] == ABSTAIN


class _Unanimous:
    """Statistics of one example whose `trials` votes all name the first of two classes."""

    same_sample_selection = False
    sigma = 1.0

    def __init__(self, trials: int) -> None:
        self.counts = np.array([[trials, 0]], dtype=np.int64)
        self.trials = np.array([trials], dtype=np.int64)
        self.selected = np.zeros(1, dtype=np.int64)


def top_and_rival(statistics: VoteStatistics) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Votes of the selected class and of its strongest rival in the estimation sample, each (B,) int64."""
    rows = np.arange(len(statistics.counts))
    rivals = statistics.counts.copy()
    rivals[rows, statistics.selected] = -1
    return statistics.counts[rows, statistics.selected], rivals.max(axis=1)


def hard_certificate(
    statistics: VoteStatistics,
    radius: NDArray[np.float64],
    p_lower: NDArray[np.float64] | None = None,
    p_upper: NDArray[np.float64] | None = None,
) -> Certificate:
    """Certificate of the selected class with the given radii; abstains where a radius is not positive."""
    certified = radius > 0
    return Certificate(
        prediction=np.where(certified, statistics.selected, ABSTAIN),
        radius=np.where(certified, radius, 0.0),
        p_lower=p_lower,
        p_upper=p_upper,
    )
