"""The contract of a certification mechanism: statistics in, certificates out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from lightning_rs.checks import alpha_left, check_inside
from lightning_rs.statistics import Statistics, fields_from
from lightning_rs.statistics.fields import Source

ABSTAIN = -1
"""The prediction of a mechanism that cannot name the smoothed classifier's class."""


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


MEASURABLE = frozenset({"gaussian", "grid_gaussian"})
"""Noises under which a certificate for Gaussian smoothing of measurable functions holds."""


class Mechanism(ABC):
    """A procedure that turns the statistics of the noisy draws into a prediction and a certified radius.

    Attributes:
        name: the registry's name.
        label: the name with the options that were given, under which results are kept.
        smoothing: `hard` if it certifies the majority vote, `soft` if the largest expected score. These are two
            different classifiers: a certificate of one says nothing about the other.
        keeps: what stays as it is within the radius: the `class`; or the `score` or the `margin` of the class, its
            expectation at or above the mechanism's attribute `confidence`.
        norm: the norm of the certified ball: `l2`, `l1`, `linf` or `l2_subspace`.
        noises: names of the distributions of noise for which its radius holds. Under noise on a grid, what is smoothed
            is the base classifier after rounding to the grid: certificates for measurable classifiers hold. One that
            assumes more of the base classifier, or reads the noise, has to say its noises itself.
        requires: the fields of `Statistics` that it reads.
        sound: True, or False with the reason in `unsound_because` for procedures kept as published.
        same_sample: whether half of alpha is shown to be enough where the votes that certify a class also selected it.
        costly: whether a certificate takes so long that of many records only some are verified when they are read.
        source: authors, title, year.
    """

    name: ClassVar[str]
    smoothing: ClassVar[str] = "hard"
    keeps: ClassVar[str] = "class"
    norm: str = "l2"
    noises: ClassVar[frozenset[str]] = MEASURABLE
    requires: frozenset[str] = frozenset({"counts"})
    sound: ClassVar[bool] = True
    unsound_because: ClassVar[str] = ""
    same_sample: ClassVar[bool] = False
    costly: ClassVar[bool] = False
    source: ClassVar[str]
    label: str = ""

    def certify(self, statistics: Statistics, alpha: float) -> Certificate:
        """Certify every example of `statistics` with failure probability at most `alpha` each.

        Raises:
            ValueError: alpha outside (0, 1) or too small for random bits, statistics without a field that the mechanism
                requires, or of draws under a noise for which its radius does not hold.
        """
        certificate = self._certify(statistics, self._usable_alpha(statistics, alpha))
        return certificate if self.norm == certificate.norm else replace(certificate, norm=self.norm)

    def check_noise(self, noise: str) -> None:
        """Refuse a distribution of noise for which the radius does not hold.

        Raises:
            ValueError: names the mechanism, its noises and the one that came.
        """
        noises = self.noises
        if noises is MEASURABLE and self.requires & fields_from(Source.NOISE):
            noises = {"gaussian"}  # On a grid the fields are of conditional means, which it may not know.
        if noise not in noises:
            raise ValueError(
                f"{self.label or self.name} certifies under {' or '.join(sorted(noises))} noise, got {noise}"
            )

    def check_stochastic(self) -> None:
        """Refuse base classifiers that answer at random, to each draw by itself, if the radius needs more than votes
        and scores of independent draws: one that reads the noise has to say itself that it does not.

        Raises:
            ValueError: names the mechanism.
        """
        if self.requires & fields_from(Source.NOISE):
            raise ValueError(
                f"{self.label or self.name} reads the noise and does not say that it holds for stochastic base "
                "classifiers: define its check_stochastic if it does"
            )

    def check_input(self, shape: tuple[int, ...], alpha: float) -> None:  # noqa: B027 - most take any
        """Refuse inputs of a shape that the mechanism cannot certify at this alpha, before anything is sampled.

        Raises:
            ValueError: says what was expected and what came.
        """

    def missing(self, held: frozenset[str]) -> list[str]:
        """What it needs beside what is held, in words: see `readable_fields`."""
        return sorted(self.requires - held)

    def regions(self, shape: tuple[int, ...]) -> dict[str, NDArray[np.bool_]] | None:
        """The regions of an input within and outside of which it reads `gradient_sums`, by name; None if it needs the
        sums themselves, or wants records to keep them."""
        return None

    def _usable_alpha(self, statistics: Statistics, alpha: float) -> float:
        """The alpha to spend on these statistics, after the checks that `certify` promises."""
        alpha = alpha_left(alpha, statistics.sampling_error)
        self.check_noise(statistics.noise)
        if missing := self.missing(statistics.readable):
            raise ValueError(f"{self.name} needs {', '.join(missing)}, which these statistics do not hold")
        looks = statistics.look_counts
        if looks is not None and looks.shape[1] > 1:
            self.refuse_looks()
        if statistics.same_sample_selection:
            # The class was picked by the votes that also certify it: a wrong class may be picked because its count is
            # high by chance. Half of alpha covers that: proved for the one-sided bound, enumerated for two-sided ones.
            self.refuse_same_sample()
            alpha /= 2.0
        return alpha

    def refuse_same_sample(self) -> None:
        """Refuse a class that the votes that certify it selected, unless half of alpha is shown to cover that.

        Raises:
            ValueError: it needs a class that other draws selected.
        """
        if not self.same_sample:
            name = self.label or self.name
            raise ValueError(f"n0 must be at least 1 for {name}, which certifies the class that other draws selected")

    def refuse_looks(self) -> None:
        """Refuse draws that were looked at on the way, unless the mechanism is made for them.

        Raises:
            ValueError: it needs a number of draws that is fixed in advance.
        """
        if "look_counts" not in self.requires:
            raise ValueError(
                f"{self.label or self.name} needs a number of draws that is fixed in advance; these draws were looked "
                "at on the way"
            )

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
        clearest = Statistics.unanimous(trials, self.requires, noise=min(self.noises))
        return self.certify(clearest, alpha).prediction[0] == ABSTAIN


def top_and_rival(statistics: Statistics) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Votes of the selected class and of its strongest rival in the estimation sample, each (B,) int64."""
    rows = np.arange(len(statistics.counts))
    rivals = statistics.counts.copy()
    rivals[rows, statistics.selected] = -1
    return statistics.counts[rows, statistics.selected], rivals.max(axis=1)


def check_share(name: str, share: float) -> float:
    """Return `share` of alpha if it lies in (0, 1), so that both parts are positive and add up to alpha."""
    return check_inside(name, share)


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
