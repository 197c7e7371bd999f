"""Certification of the soft smoothed classifier by a Lipschitz constant and the margin."""

from __future__ import annotations

import numpy as np

from lightning_rs.checks import as_number, shown
from lightning_rs.mechanisms.score_pair import ScorePairMechanism
from lightning_rs.radii.margin import lipschitz_radius


class Lipschitz(ScorePairMechanism):
    """`lipschitz_radius` of the margin e0 - e1 of expected scores. Soft smoothed classifier, l2.

    Without `base_lipschitz` the constant is that of the smoothing alone, and the radius is below that of `salman`; it
    is useful with a known, certified constant of the base classifier, normalisation included. Bounds and the split
    of alpha are those of `score_pair`. Sound with a valid constant; refused beside noise on a grid, since the base
    classifier after rounding to the grid has none. Rounding scores down to 2**-32, as they are counted, is among what
    real arithmetic leaves out.

    Args:
        base_lipschitz: l2-to-l2 Lipschitz constant of the base classifier's scores (not smaller than that of its
            softmax output), or None if none is known.
        bound: see `score_pair`.
        top_share: see `score_pair`.
    """

    name = "lipschitz"
    source = "B. Delattre et al., The Lipschitz-Variance-Margin Tradeoff for Enhanced Randomized Smoothing, 2024"

    def __init__(
        self, base_lipschitz: float | None = None, bound: str = "hoeffding_kl", top_share: float = 0.5
    ) -> None:
        super().__init__(bound, top_share)
        if base_lipschitz is not None and not as_number(base_lipschitz) > 0:
            raise ValueError(f"base_lipschitz must be positive, got {shown(base_lipschitz)}")
        self.base_lipschitz = base_lipschitz

    def check_noise(self, noise: str) -> None:
        super().check_noise(noise)
        if self.base_lipschitz is not None and noise == "grid_gaussian":
            raise ValueError(
                f"{self.label or self.name} needs the Lipschitz constant of what is smoothed; after rounding to a grid "
                "nothing has one: leave base_lipschitz out, or certify in real arithmetic (--noise gaussian)"
            )

    def check_stochastic(self) -> None:
        super().check_stochastic()
        if self.base_lipschitz is not None:
            raise ValueError(
                f"{self.label or self.name} needs the Lipschitz constant of what is smoothed, and of a stochastic base "
                "classifier that is the one of its expected scores: leave base_lipschitz out"
            )

    def radius(self, pair, sigma):
        return lipschitz_radius(np.maximum(pair.lower - pair.upper, 0.0), sigma, self.base_lipschitz)
