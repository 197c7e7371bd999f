"""Running sums of the noise over the votes: what first-order mechanisms need."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lightning_rs.statistics import fields_from, gradient_moments
from lightning_rs.statistics.fields import Source

GRADIENT_FIELDS = fields_from(Source.NOISE)
"""Fields of `Statistics` that need the noise. All depend on the selected class."""

# Noise is converted to float64 in pieces of at most 64 MiB.
_PIECE = 2**23


class GradientTally:
    """Sums of u (F - 1/2) and of u (1 - F) over draws u ~ N(0, I), F = 1 where a row votes for the selected class.

    For noise on a grid u is the conditional mean of N(0, I) given the draw, see `NoiseSource.standardised`.

    Draws with even and with odd numbers are summed apart, so where batches begin and end, and who draws what, does not
    matter. Each batch is one matrix product in float64, on the device: the factors are -1/2, 0, 1/2 and 1, so only the
    summation rounds, by at most 1e-16 n of the sum of |u|, far below the slack of the bounds. (In float32 it could be
    1e-4 n: too much to ignore, too loose to allow for.) Memory is 32 bytes a coordinate.

    Args:
        shape: shape of one input.
        device: where the noise is.
        standardised: u in float64 from the rows that `update` is given; the rows themselves when left out.
        keep_sums: whether `result` also holds the sums of every coordinate.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        device: torch.device | str,
        standardised: Callable[[Tensor], Tensor] = Tensor.double,
        *,
        keep_sums: bool = False,
    ) -> None:
        self._shape = tuple(shape)
        self._standardised = standardised
        self._keep_sums = keep_sums
        size = math.prod(self._shape)
        self._sums = torch.zeros((4, size), dtype=torch.float64, device=device)
        self._counts = torch.zeros((2, 2), dtype=torch.int64, device=device)
        self._piece = max(1, _PIECE // max(1, size))

    def update(self, draws: Tensor, voted: Tensor, start: int) -> None:
        """Add a batch.

        Args:
            draws: (rows, *shape), by themselves, as `standardised` takes them.
            voted: (rows,) bool, whether the row voted for the selected class; False where its scores are NaN.
            start: number of the first row among all draws of the example; the others follow one by one.
        """
        odd = (torch.arange(len(voted), device=voted.device) + start) % 2
        halves = torch.stack([1 - odd, odd])
        against = (~voted).to(torch.int64)
        self._counts += torch.stack([halves.sum(1), (halves * against).sum(1)], dim=1)
        kinds = torch.stack([0.5 - against.double(), against.double()])
        factors = (halves.double()[:, None] * kinds).flatten(0, 1)
        for k in range(0, len(draws), self._piece):
            rows = self._standardised(draws[k : k + self._piece].flatten(1))
            self._sums.addmm_(factors[:, k : k + self._piece], rows)

    def result(self) -> dict[str, NDArray]:
        """Field to its array for this one example, on the host: see `Statistics`."""
        sums = self._sums.cpu().numpy().reshape(2, 2, *self._shape)
        held = {"gradient_counts": self._counts.cpu().numpy(), "gradient_moments": gradient_moments(sums[None])[0]}
        return held | ({"gradient_sums": np.array(sums)} if self._keep_sums else {})
