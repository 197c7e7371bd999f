"""What most radii are functions of: how probable the leading class is at least, and every other at most."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lightning_rs.radii.differential_privacy import analytic_gaussian_radius, lecuyer_radius, renyi_radius
from lightning_rs.radii.neyman_pearson import neyman_pearson_radius


@dataclass(frozen=True)
class ProbabilityPair:
    """Bounds on probabilities, or on expected scores, of B examples; they hold together.

    Attributes:
        lower: (B,) lower bound of the selected class.
        upper: (B,) upper bound of every other class, at most `rest`.
        rest: (B,) 1 - lower, formed without subtraction where the bound allows it: at n = 1e9 it is about 1e-8 and
            carries the radius.
    """

    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    rest: NDArray[np.float64]


PAIR_RADII: dict[str, Callable[..., NDArray[np.float64]]] = {
    "cohen": lambda lower, _, sigma: neyman_pearson_radius(lower, 1.0 - lower, sigma),
    "cohen_two_sided": neyman_pearson_radius,
    "lecuyer": lecuyer_radius,
    "li": renyi_radius,
    "cullen": analytic_gaussian_radius,
}
"""Mechanisms of the hard smoothed classifier whose l2 radii are functions of (lower, upper, sigma)."""
