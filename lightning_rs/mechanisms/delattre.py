"""Class partitioning: fewer events to bound than classes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import special

from lightning_rs.bounds import clopper_pearson_lower, clopper_pearson_upper
from lightning_rs.mechanisms.base import Certificate, Mechanism, certificate_of_selected
from lightning_rs.radii.neyman_pearson import radius_from_quantiles
from lightning_rs.statistics import Statistics


class Delattre(Mechanism):
    """Two-sided certification with the classes grouped into m buckets by the selection votes. Hard, l2.

    The top class and the second are buckets of their own; while the remaining classes together have more selection
    votes than the second, the largest of them gets one too; what is left is the last bucket. Clopper-Pearson bounds at
    alpha / m on the top class from below and on every other bucket's total from above; R as in `cohen_two_sided`.

    Sound as published, since the buckets depend on the selection draws only; but the factor m is not needed, and
    `cohen_two_sided` with top_share = 0.5 is at least as large on every sample.
    """

    name = "delattre"
    source = "B. Delattre et al., Bridging the Theoretical Gap in Randomized Smoothing, 2025, Algorithm 2"
    requires = frozenset({"counts", "selection_counts"})

    def _certify(self, statistics: Statistics, alpha: float) -> Certificate:
        order = np.argsort(-statistics.selection_counts, axis=1, kind="stable")
        buckets = self._singles(np.take_along_axis(statistics.selection_counts, order, axis=1))
        counts = np.take_along_axis(statistics.counts, order, axis=1)
        rank = np.arange(counts.shape[1])
        single = rank < buckets[:, None]
        rest_total = np.where(single, 0, counts).sum(axis=1)
        has_rest = buckets < counts.shape[1]
        alpha_each = alpha / (buckets + has_rest)
        largest = np.maximum(np.where(single & (rank > 0), counts, 0).max(axis=1), rest_total)
        trials, top = statistics.trials, counts[:, 0]
        rest = clopper_pearson_upper(trials - top, trials, alpha_each)
        p_upper = np.minimum(clopper_pearson_upper(largest, trials, alpha_each), rest)
        radius = radius_from_quantiles(-special.ndtri(rest), special.ndtri(p_upper), statistics.sigma)
        return certificate_of_selected(statistics, radius, clopper_pearson_lower(top, trials, alpha_each), p_upper)

    @staticmethod
    def _singles(descending: NDArray[np.int64]) -> NDArray[np.int64]:
        """Number of classes with a bucket of their own: the least k >= 2 whose remainder is no more than the second."""
        remainder = descending.sum(axis=1, keepdims=True) - np.cumsum(descending, axis=1)
        enough = remainder[:, 1:] <= descending[:, 1:2]
        return 2 + enough.argmax(axis=1)
