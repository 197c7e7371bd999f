"""Certified confidence: how far the expected score, or margin, of the predicted class stays above a threshold."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from lightning_rs.bounds import binomial_survival_lower, dkw_survival_lower, hoeffding_lower
from lightning_rs.checks import as_number, check_known, shown
from lightning_rs.mechanisms.base import Certificate, Mechanism, certificate_of_selected
from lightning_rs.radii.confidence import certified_confidence, confidence_radius
from lightning_rs.statistics import Statistics
from lightning_rs.statistics.thresholds import BINOMIAL_STEP, MARGIN_THRESHOLDS, SCORE_THRESHOLDS

_SOURCE = "A. Kumar, A. Levine, S. Feizi, T. Goldstein, Certifying Confidence via Randomized Smoothing, 2020"


class ConfidenceMechanism(Mechanism):
    """The radius within which the smoothed confidence of the selected class stays above a threshold. l2.

    A lower band on the distribution of the draws' scores, at the whole of alpha, gives through the Neyman-Pearson lemma
    at every threshold a lower bound on the confidence at a distance; see `confidence_radius`. Bands:

    - `naive`: Hoeffding's bound on the mean alone.
    - `dkw`: the one-sided Dvoretzky-Kiefer-Wolfowitz band, at 1,000 thresholds.
    - `grid`: Clopper-Pearson bounds at alpha / 100 for 100 thresholds; by far the best for confident classifiers, where
      DKW cannot certify beyond 2.52 sigma (n = 1e5, alpha = .001).

    Sound as published (the constant of the one-sided band is ln(1 / alpha)); `grid` is not published. The class comes
    from the votes of the selection draws.

    Args:
        confidence: the threshold c to keep.
        band: `naive`, `dkw` or `grid`.
    """

    smoothing = "soft"
    low: ClassVar[float]
    thresholds: ClassVar[NDArray[np.float64]]
    fields: ClassVar[tuple[str, str]]
    """The fields with the sum and with the histogram."""

    def __init__(self, confidence: float, band: str = "grid") -> None:
        # Below these values the class that keeps its confidence need not be the one with the largest expected score.
        least = (self.low + 1.0) / 2.0
        if not least <= as_number(confidence) < 1.0:
            raise ValueError(f"confidence must lie in [{least:g}, 1) for {self.name}, got {shown(confidence)}")
        self.confidence = float(confidence)
        self.band = check_known("band", band, ("naive", "dkw", "grid"))
        self.requires = frozenset({"counts", "selection_counts", self.fields[band != "naive"]})

    def _certify(self, statistics: Statistics, alpha: float) -> Certificate:
        thresholds, survival = self._survival(statistics, alpha)
        radius = confidence_radius(thresholds, survival, statistics.sigma, self.confidence, low=self.low)
        return certificate_of_selected(statistics, radius)

    def certified_confidence(self, statistics: Statistics, alpha: float, radius: float) -> NDArray[np.float64]:
        """(B,) lower bounds on the confidence of the selected class everywhere within `radius`, each at alpha."""
        thresholds, survival = self._survival(statistics, self._usable_alpha(statistics, alpha))
        return certified_confidence(thresholds, survival, statistics.sigma, radius, low=self.low)

    def _survival(self, statistics: Statistics, alpha: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Thresholds (J,) and lower bounds (B, J) on the probability that a draw reaches each."""
        n = statistics.trials
        if self.band == "naive":
            mean = self._sum(statistics) / n
            scaled = np.clip((mean - self.low) / (1.0 - self.low) - 1e-12, 0.0, 1.0)
            return np.ones(1), hoeffding_lower(scaled, n, alpha)[:, None]
        histogram = getattr(statistics, self.fields[1])
        reached = np.cumsum(histogram[:, ::-1], axis=1)[:, ::-1][:, 1:]
        if self.band == "dkw":
            return self.thresholds, dkw_survival_lower(reached, n, alpha)
        chosen = slice(BINOMIAL_STEP - 1, None, BINOMIAL_STEP)
        return self.thresholds[chosen], binomial_survival_lower(reached[:, chosen], n, alpha)

    def _sum(self, statistics: Statistics) -> NDArray[np.float64]:
        raise TypeError(f"{type(self).__name__} must define _sum")


class KumarScore(ConfidenceMechanism):
    """Certified confidence in the expected score of the selected class, in (0, 1): see `ConfidenceMechanism`."""

    name = "kumar_score"
    keeps = "score"
    source = _SOURCE + ", Theorem 2 for the average prediction score"
    low = 0.0
    thresholds = SCORE_THRESHOLDS
    fields = ("score_sum", "score_histogram")

    def __init__(self, confidence: float = 0.5, band: str = "grid") -> None:
        super().__init__(confidence, band)

    def _sum(self, statistics: Statistics) -> NDArray[np.float64]:
        return statistics.score_sum[np.arange(len(statistics.counts)), statistics.selected]


class KumarMargin(ConfidenceMechanism):
    """Certified confidence in the expected margin (own score minus the largest other), in (-1, 1).

    A positive certified margin makes the selected class the soft smoothed classifier's answer, because the expected
    largest score is at least the largest expected score. See `ConfidenceMechanism`.
    """

    name = "kumar_margin"
    keeps = "margin"
    source = _SOURCE + ", Theorem 2 for the margin"
    low = -1.0
    thresholds = MARGIN_THRESHOLDS
    fields = ("margin_sum", "margin_histogram")

    def __init__(self, confidence: float = 0.0, band: str = "grid") -> None:
        super().__init__(confidence, band)

    def _sum(self, statistics: Statistics) -> NDArray[np.float64]:
        return statistics.margin_sum
