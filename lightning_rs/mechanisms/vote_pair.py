"""Mechanisms on the same pair of bounds on hard votes as `cohen_two_sided`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lightning_rs.mechanisms.base import (
    Certificate,
    Mechanism,
    Statistics,
    certificate_of_selected,
    check_share,
    two_sided_bounds,
)


class VotePairMechanism(Mechanism):
    """A radius of (p_lower, p_upper), the bounds of `two_sided_bounds`, which hold together with probability 1 - alpha.

    Args:
        top_share: share of alpha spent on the selected class, in (0, 1).
    """

    def __init__(self, top_share: float = 0.9) -> None:
        self.top_share = check_share("top_share", top_share)

    def _certify(self, statistics: Statistics, alpha: float) -> Certificate:
        _, p_lower, p_upper = two_sided_bounds(statistics, alpha, self.top_share)
        radius = self._radius(p_lower, p_upper, statistics.sigma)
        return certificate_of_selected(statistics, radius, p_lower, p_upper)

    def _radius(self, lower: NDArray[np.float64], upper: NDArray[np.float64], sigma: float) -> NDArray[np.float64]:
        raise TypeError(f"{type(self).__name__} must define _radius")
