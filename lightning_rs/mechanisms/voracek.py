"""One-sided certification with the randomised Clopper-Pearson bound."""

from __future__ import annotations

import numpy as np
from scipy import special

from lightning_rs.bounds import (
    clopper_pearson_upper,
    randomized_clopper_pearson_lower,
    randomized_clopper_pearson_upper,
)
from lightning_rs.mechanisms.base import Certificate, Mechanism, certificate_of_selected, top_and_rival
from lightning_rs.radii.neyman_pearson import radius_from_quantiles
from lightning_rs.statistics import Statistics


class Voracek(Mechanism):
    """`cohen` with the bound that is exact: it uses one draw of U(0, 1) an example to cover with exactly 1 - alpha.

    Hard votes, l2. The bound is never below Clopper-Pearson's. With unanimous votes and a uniform draw of at most alpha
    it would be 1 and the radius infinite; the Clopper-Pearson bound is reported then. The uniform draw is a function of
    the seed and the example's index; drawing it again until the answer pleases is not covered. Sound.
    """

    name = "voracek"
    source = (
        "V. Voracek, Treatment of Statistical Estimation Problems in Randomized Smoothing for Adversarial Robustness, "
        "2024"
    )
    requires = frozenset({"counts", "uniform"})

    def _certify(self, statistics: Statistics, alpha: float) -> Certificate:
        top, _ = top_and_rival(statistics)
        trials, uniform = statistics.trials, statistics.uniform
        rest = randomized_clopper_pearson_upper(trials - top, trials, alpha, uniform)
        rest = np.where(rest > 0.0, rest, clopper_pearson_upper(trials - top, trials, alpha))
        quantile = -special.ndtri(rest)
        radius = radius_from_quantiles(quantile, -quantile, statistics.sigma)
        lower = np.minimum(randomized_clopper_pearson_lower(top, trials, alpha, uniform), 1.0 - rest)
        return certificate_of_selected(statistics, radius, lower)
