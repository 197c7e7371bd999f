"""First-order certification: larger radii from the votes and the noise that they answered to."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lightning_rs.bounds import clopper_pearson_lower, clopper_pearson_upper
from lightning_rs.bounds.gradient_norms import (
    CONFIDENT,
    ESTIMATORS,
    GradientNorms,
    least_dimension,
    paper_refusal,
)
from lightning_rs.checks import check_at_least, check_known
from lightning_rs.mechanisms.base import Certificate, Mechanism, certificate_of_selected, top_and_rival
from lightning_rs.mechanisms.cohen import Cohen
from lightning_rs.radii.first_order import first_order_radius, rest_of_norm
from lightning_rs.statistics import Statistics, region_field

_SOURCE = (
    "J. Mohapatra, C.-Y. Ko, T.-W. Weng, P.-Y. Chen, S. Liu, L. Daniel, Higher-Order Certification for Randomized "
    "Smoothing, 2020"
)

Array = NDArray[np.float64]


class FirstOrderMechanism(Mechanism):
    """Radius from a lower bound q on the class's probability and bounds on norms of its gradient. Hard.

    q is the Clopper-Pearson bound at alpha / 2; the bounds on norms share the other half. All use the same draws. Where
    the gradient adds nothing the radius is sigma Phi^-1(q), up to half a percent below `cohen`, which spends all of
    alpha on q; no maximum of the two is sound at alpha.

    Estimators: `half` and `miss` (see `GradientNorms`) hold in every dimension; `auto` takes `miss` where at least 95 %
    of the selection votes are for the class, which the estimation draws do not know; `paper` is the published one,
    refused in dimensions where it does not hold and beside noise on a grid.

    On a grid u is E[z | k] / sigma, the mean of the Gaussian given its rounding k: E[u F] is the same, and the bounds
    of `half` and `miss` rest on expectations of convex functions of u, which are no larger by Jensen's inequality.

    Args:
        estimator: `auto`, `half`, `miss` or `paper`.
    """

    noises = frozenset({"gaussian", "grid_gaussian"})
    statistics_needed = 2
    """Bounds on norms among which alpha / 2 is shared."""

    def __init__(self, estimator: str = "auto") -> None:
        self.estimator = check_known("estimator", estimator, ESTIMATORS)
        self.requires = frozenset({"counts", "selection_counts", "input_shape", "gradient_counts", "gradient_moments"})

    def check_noise(self, noise: str) -> None:
        super().check_noise(noise)
        if self.estimator == "paper" and noise != "gaussian":
            raise ValueError(
                f"the paper estimator of {self.label or self.name} is proved for gaussian noise alone, got {noise}: "
                "take half, miss or auto"
            )

    def check_stochastic(self) -> None:
        if self.estimator == "paper":
            raise ValueError(
                f"the paper estimator of {self.label or self.name} is proved for base classifiers that are functions, "
                "not for stochastic ones: take half, miss or auto"
            )

    def check_input(self, shape: tuple[int, ...], alpha: float) -> None:
        if self.estimator == "paper":
            delta = self._delta(alpha)
            for dimension in self._dimensions(shape):
                if dimension < least_dimension(delta):
                    raise ValueError(paper_refusal(dimension, delta))

    def minimum_trials(self, alpha: float) -> int:
        # The gradient helps no class over one half.
        return Cohen().minimum_trials(alpha / 2.0)

    def _certify(self, statistics: Statistics, alpha: float) -> Certificate:
        self.check_input(statistics.input_shape, alpha)
        top, _ = top_and_rival(statistics)
        trials = statistics.trials
        q = clopper_pearson_lower(top, trials, alpha / 2.0)
        rest = clopper_pearson_upper(trials - top, trials, alpha / 2.0)
        radius, failed = np.zeros(len(q)), np.zeros(len(q), dtype=bool)
        for estimator, rows in self._estimators(statistics).items():
            groups = [
                GradientNorms.of(
                    moments[rows], statistics.gradient_counts[rows, :, 0], dimension, estimator, rest[rows]
                )
                for moments, dimension in self._groups(statistics)
            ]
            m1, m2, scale = self._moments(groups, self._delta(alpha))
            radius[rows], failed[rows] = first_order_radius(q[rows], m1, m2, scale * statistics.sigma)
        return replace(certificate_of_selected(statistics, radius, q), fallback=failed)

    def _estimators(self, statistics: Statistics) -> dict[str, NDArray[np.int64]]:
        """Estimator to the examples that it serves."""
        rows = np.arange(len(statistics.counts))
        if self.estimator != "auto":
            return {self.estimator: rows} if len(rows) else {}
        votes = statistics.selection_counts
        miss = votes.max(axis=1) >= CONFIDENT * votes.sum(axis=1)
        return {name: rows[mask] for name, mask in (("miss", miss), ("half", ~miss)) if mask.any()}

    def _delta(self, alpha: float) -> float:
        return 0.5 * alpha / self.statistics_needed

    def _dimensions(self, shape: tuple[int, ...]) -> list[int]:
        """Sizes of the groups of coordinates whose l2 norm is bounded."""
        return [math.prod(shape)]

    def _groups(self, statistics: Statistics) -> list[tuple[Array, int]]:
        """`gradient_moments` and number of coordinates of each group."""
        return [(statistics.gradient_moments, math.prod(statistics.input_shape))]

    def _moments(self, groups: list[GradientNorms], delta: float) -> tuple[Array, Array, float]:
        """Bounds on -m1 from above and on m2 from below, and the radius over that in l2."""
        raise TypeError(f"{type(self).__name__} must define _moments")


class MohapatraL2(FirstOrderMechanism):
    """l2 radius: the smaller the gradient, the larger. See `first_order_l2_radius` and `FirstOrderMechanism`."""

    name = "mohapatra_l2"
    source = _SOURCE + ", Corollary 3.1"
    statistics_needed = 1

    def _moments(self, groups: list[GradientNorms], delta: float) -> tuple[Array, Array, float]:
        upper = groups[0].l2_upper(delta)
        return upper, np.zeros_like(upper), 1.0


class MohapatraL1(FirstOrderMechanism):
    """l1 radius: a gradient that is spread over many pixels allows more. See `first_order_l1_radius`."""

    name = "mohapatra_l1"
    norm = "l1"
    source = _SOURCE + ", Theorem 3, Propositions 1 and 2"

    def _moments(self, groups: list[GradientNorms], delta: float) -> tuple[Array, Array, float]:
        upper, lower = groups[0].linf_upper(delta), groups[0].l2_lower(delta)
        return upper, rest_of_norm(lower, upper), 1.0


class MohapatraLinf(FirstOrderMechanism):
    """l-infinity radius: gains where few pixels have most of the gradient. See `first_order_linf_radius`."""

    name = "mohapatra_linf"
    norm = "linf"
    source = _SOURCE + ", Theorem 3, Propositions 1 and 2, with the division by sqrt(d) that is left unsaid"

    def _moments(self, groups: list[GradientNorms], delta: float) -> tuple[Array, Array, float]:
        root = math.sqrt(groups[0].dimension)
        upper, lower = groups[0].l1_upper(delta) / root, groups[0].l2_lower(delta)
        return upper, rest_of_norm(lower, upper), 1.0 / root


class MohapatraChannel(FirstOrderMechanism):
    """l2 radius against perturbations of some pixels only: one colour channel, a rectangle, or both.

    See `first_order_subspace_l2_radius`. Records keep four numbers per kind and channel within the rectangle, and four
    outside: what its certificates need at any alpha. From the sums of every pixel, 32 bytes each, those of any other
    rectangle follow.

    Args:
        estimator: `auto`, `half`, `miss` or `paper`.
        channel: the channel that may change, or `all`.
        top, left: first row and column that may change.
        height, width: rows and columns that may change; all of the rest when left out.
        keep: `all` for records that keep the sums of every pixel, so that they can be certified again for other
            rectangles; or `region`.
    """

    name = "mohapatra_channel"
    norm = "l2_subspace"
    source = _SOURCE + ", Theorem 3 for subspaces; the other part of the gradient bounded directly"

    def __init__(
        self,
        estimator: str = "auto",
        channel: int | str = 0,
        top: int = 0,
        left: int = 0,
        height: int | None = None,
        width: int | None = None,
        keep: str = "region",
    ) -> None:
        super().__init__(estimator)
        self.channel = channel if channel == "all" else check_at_least("channel", channel, 0)
        self.top, self.left = check_at_least("top", top, 0), check_at_least("left", left, 0)
        self.height = None if height is None else check_at_least("height", height, 1)
        self.width = None if width is None else check_at_least("width", width, 1)
        self._rectangle = (top, left, height, width) != (0, 0, None, None)
        self.keep = check_known("keep", keep, ("region", "all"))
        if self._rectangle or keep == "all":
            self.requires = self.requires - {"gradient_moments"} | {"gradient_sums"}

    @property
    def region(self) -> str:
        """What the pixels are called in records."""
        height, width = ("rest" if length is None else length for length in (self.height, self.width))
        return f"channel={self.channel},top={self.top},left={self.left},height={height},width={width}"

    def missing(self, held: frozenset[str]) -> list[str]:
        found = super().missing(held)
        if region_field(self.region) in held:
            return [name for name in found if name != "gradient_sums"]
        return ["gradient_sums (which keep=all keeps)" if name == "gradient_sums" else name for name in found]

    def regions(self, shape: tuple[int, ...]) -> dict[str, NDArray[np.bool_]] | None:
        return {self.region: self.mask(shape)} if self.keep == "region" else None

    def check_input(self, shape: tuple[int, ...], alpha: float) -> None:
        fits = len(shape) == 3 and (self.channel == "all" or self.channel < shape[0])
        if fits:
            fits = self.top + (self.height or 1) <= shape[1] and self.left + (self.width or 1) <= shape[2]
        if not fits:
            raise ValueError(
                f"{self.label or self.name} must name a channel and pixels of the image, (channels, height, width); "
                f"these are {tuple(shape)}"
            )
        super().check_input(shape, alpha)

    def mask(self, shape: tuple[int, ...]) -> NDArray[np.bool_]:
        """The coordinates of an image of this shape that may change."""
        mask = np.zeros(shape, dtype=bool)
        channels = slice(None) if self.channel == "all" else self.channel
        rows = slice(self.top, None if self.height is None else self.top + self.height)
        mask[channels, rows, self.left : None if self.width is None else self.left + self.width] = True
        return mask

    def _dimensions(self, shape: tuple[int, ...]) -> list[int]:
        inside = int(self.mask(shape).sum())
        return [size for size in (inside, math.prod(shape) - inside) if size]

    def _groups(self, statistics: Statistics) -> list[tuple[Array, int]]:
        mask = self.mask(statistics.input_shape)
        if "gradient_sums" in self.requires:
            if statistics.gradient_sums is not None:
                statistics = statistics.collapsed({self.region: mask})
            return list(zip(statistics.moments_of(self.region), (int(mask.sum()), int((~mask).sum())), strict=True))
        channels = mask.any(axis=(1, 2))
        return [
            (statistics.gradient_moments[:, :, part], int(mask[0].size * part.sum())) for part in (channels, ~channels)
        ]

    def _moments(self, groups: list[GradientNorms], delta: float) -> tuple[Array, Array, float]:
        inside, outside = groups
        return inside.l2_upper(delta), outside.l2_lower(delta), 1.0
