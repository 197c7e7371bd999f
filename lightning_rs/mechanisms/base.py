"""The contract of a certification mechanism: statistics in, certificates out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from lightning_rs.bounds import clopper_pearson_lower, clopper_pearson_upper
from lightning_rs.checks import check_alpha
from lightning_rs.statistics.thresholds import SCORE_THRESHOLDS

ABSTAIN = -1
"""The prediction of a mechanism that cannot name the smoothed classifier's class."""


class Statistics(Protocol):
    """What mechanisms read of `lightning_rs.smoothing.Statistics`, which describes the fields."""

    sigma: float
    counts: NDArray[np.int64]
    selection_counts: NDArray[np.int64] | None
    score_sum: NDArray[np.float64] | None
    score_square_sum: NDArray[np.float64] | None
    margin_sum: NDArray[np.float64] | None
    margin_square_sum: NDArray[np.float64] | None
    score_histogram: NDArray[np.int64] | None
    margin_histogram: NDArray[np.int64] | None
    scores: NDArray[np.float32] | None
    uniform: NDArray[np.float64] | None
    gradient_counts: NDArray[np.int64] | None
    gradient_moments: NDArray[np.float64] | None
    gradient_sums: NDArray[np.float64] | None
    input_shape: tuple[int, ...] | None
    look_counts: NDArray[np.int64] | None

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
        radius: (B,) float64, the smoothed classifier answers `prediction` everywhere in the open ball of this radius
            in `norm`; 0 where the mechanism abstains. Never rounded up.
        p_lower: (B,) float64, lower bound on the probability of the selected class, where the mechanism has one.
        p_upper: (B,) float64, upper bound on the probability of every other class, where the mechanism has one.
        norm: the norm of the ball: `l2`, `l1`, `linf` or `l2_subspace`.
        fallback: (B,) bool, where a solver failed and a smaller, simpler radius stands in; where there is a solver.
    """

    prediction: NDArray[np.int64]
    radius: NDArray[np.float64]
    p_lower: NDArray[np.float64] | None = None
    p_upper: NDArray[np.float64] | None = None
    norm: str = "l2"
    fallback: NDArray[np.bool_] | None = None


class Mechanism(ABC):
    """A procedure that turns the statistics of the noisy draws into a prediction and a certified radius.

    Attributes:
        name: the registry's name.
        label: the name with the options that were given, under which results are kept.
        smoothing: `hard` if it certifies the majority vote, `soft` if the largest expected score. These are two
            different classifiers: a certificate of one says nothing about the other.
        norm: the norm of the certified ball: `l2`, `l1`, `linf` or `l2_subspace`.
        requires: the fields of `Statistics` that it reads.
        sound: True, or False with the reason in `unsound_because` for procedures kept as published.
        source: authors, title, year.
    """

    name: ClassVar[str]
    smoothing: ClassVar[str] = "hard"
    norm: str = "l2"
    requires: frozenset[str] = frozenset({"counts"})
    sound: ClassVar[bool] = True
    unsound_because: ClassVar[str] = ""
    source: ClassVar[str]
    label: str = ""

    def certify(self, statistics: Statistics, alpha: float) -> Certificate:
        """Certify every example of `statistics` with failure probability at most `alpha` each.

        Raises:
            ValueError: alpha outside (0, 1), or statistics without a field that the mechanism requires.
        """
        return self._certify(statistics, self._usable_alpha(statistics, alpha))

    def check_input(self, shape: tuple[int, ...], alpha: float) -> None:  # noqa: B027 - most take any
        """Refuse inputs of a shape that the mechanism cannot certify at this alpha, before anything is sampled.

        Raises:
            ValueError: says what was expected and what came.
        """

    def _usable_alpha(self, statistics: Statistics, alpha: float) -> float:
        """The alpha to spend on these statistics, after the checks that `certify` promises."""
        alpha = check_alpha(alpha)
        missing = sorted(field for field in self.requires if getattr(statistics, field, None) is None)
        if missing:
            raise ValueError(f"{self.name} needs {', '.join(missing)}, which these statistics do not hold")
        looks = getattr(statistics, "look_counts", None)
        if looks is not None and looks.shape[1] > 1 and "look_counts" not in self.requires:
            raise ValueError(
                f"{self.name} needs a number of draws that is fixed in advance; these draws were looked at on the way"
            )
        if statistics.same_sample_selection:
            # The class was picked by the votes that also certify it: a wrong class may be picked because its count is
            # high by chance. Half of alpha covers that: proved for the one-sided bound, enumerated for two-sided ones.
            alpha /= 2.0
        return alpha

    @abstractmethod
    def _certify(self, statistics: Statistics, alpha: float) -> Certificate:
        """What `certify` returns, at the alpha that may be spent."""

    def minimum_trials(self, alpha: float) -> int:
        """The least n at which the clearest possible draws are certified; with fewer the mechanism always abstains."""
        high = 2
        while self._abstains(high, alpha):
            high *= 2
            if high > 2**40:
                raise ValueError(f"{self.label or self.name} cannot certify anything at alpha = {alpha} with any n")
        low = high // 2 if high > 2 else 0
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self._abstains(middle, alpha) else (low, middle)
        return high

    def _abstains(self, trials: int, alpha: float) -> bool:
        return self.certify(_Unanimous(trials), alpha).prediction[0] == ABSTAIN


class _Unanimous:
    """Statistics of one example all of whose `trials` draws say, with score 1, the first of two classes."""

    sigma = 1.0
    same_sample_selection = False

    def __init__(self, trials: int) -> None:
        self.trials = np.array([trials])
        self.selected = np.zeros(1, dtype=np.int64)
        self.counts = self.selection_counts = np.array([[trials, 0]])
        self.score_sum = self.score_square_sum = np.array([[trials, 0.0]])
        self.margin_sum = np.array([float(trials)])
        self.margin_square_sum = np.array([[0.0, trials]])
        self.score_histogram = self.margin_histogram = np.zeros((1, len(SCORE_THRESHOLDS) + 1), dtype=np.int64)
        self.score_histogram[0, -1] = trials
        self.uniform = np.array([0.5])
        self.look_counts = np.array([[[trials, trials]]])

    @property
    def scores(self) -> NDArray[np.float32]:
        return np.ones((1, int(self.trials[0])), dtype=np.float32)


def top_and_rival(statistics: Statistics) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Votes of the selected class and of its strongest rival in the estimation sample, each (B,) int64."""
    rows = np.arange(len(statistics.counts))
    rivals = statistics.counts.copy()
    rivals[rows, statistics.selected] = -1
    return statistics.counts[rows, statistics.selected], rivals.max(axis=1)


def two_sided_bounds(
    statistics: Statistics, alpha: float, top_share: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Clopper-Pearson bounds on hard votes, valid together with probability 1 - alpha: (rest, p_lower, p_upper).

    p_lower bounds the selected class at top_share * alpha; p_upper every other class at the rest of alpha, at the
    largest rival count; rest = 1 - p_lower, formed without subtraction. p_upper is cut off at rest.

    No correction for the number of classes is needed: given the selected class the true runner-up is fixed, not random,
    and the bound at the largest rival count is at least the bound at the true runner-up's, which alone has to hold.
    """
    top, rival = top_and_rival(statistics)
    trials = statistics.trials
    alpha_top = top_share * alpha
    alpha_rival = alpha - alpha_top
    rest = clopper_pearson_upper(trials - top, trials, alpha_top)
    p_upper = np.minimum(clopper_pearson_upper(rival, trials, alpha_rival), rest)
    return rest, clopper_pearson_lower(top, trials, alpha_top), p_upper


def check_share(name: str, share: float) -> float:
    """Return `share` of alpha if it lies in (0, 1), so that both parts are positive and add up to alpha."""
    if not 0.0 < share < 1.0:
        raise ValueError(f"{name} must lie in (0, 1), got {share}")
    return float(share)


def certificate_of_selected(
    statistics: Statistics,
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
