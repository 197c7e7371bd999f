"""Mechanisms whose radius is a function of one pair of bounds."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
from numpy.typing import NDArray

from lightning_rs.mechanisms.base import Certificate, Mechanism, certificate_of_selected
from lightning_rs.radii.pair import ProbabilityPair
from lightning_rs.statistics import Statistics


class PairMechanism(Mechanism):
    """A bound on two probabilities times a radius: subclasses say how `pair` is estimated and what `radius` it has."""

    @abstractmethod
    def pair(self, statistics: Statistics, alpha: float) -> ProbabilityPair:
        """Bounds that hold together with probability 1 - alpha."""

    @abstractmethod
    def radius(self, pair: ProbabilityPair, sigma: float) -> NDArray[np.float64]:
        """(B,) radii, from below."""

    def _certify(self, statistics: Statistics, alpha: float) -> Certificate:
        pair = self.pair(statistics, alpha)
        return certificate_of_selected(statistics, self.radius(pair, statistics.sigma), pair.lower, pair.upper)
