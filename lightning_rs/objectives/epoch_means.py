"""Means over an epoch's images, added up on the device."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor


class EpochMeans:
    """Means over images of values that are means over batches, weighted by the rows of these.

        mean = sum_b rows_b value_b / sum_b rows_b

    Lightning's own logging does the same, but takes the host milliseconds a value and step: a fifth of a small net's
    step. It is given the means at the end of the epoch instead.
    """

    def __init__(self) -> None:
        self._sums: dict[str, tuple[Tensor | float, int]] = {}

    def add(self, values: Mapping[str, Tensor], rows: int) -> None:
        """Count the values of a batch of so many rows, without waiting for them."""
        for name, value in values.items():
            total, counted = self._sums.get(name, (0.0, 0))
            self._sums[name] = total + value.detach() * rows, counted + rows

    def take(self) -> dict[str, tuple[Tensor, int]]:
        """Every value's mean and the rows that it is of, since they were last taken."""
        means = {name: (total / rows, rows) for name, (total, rows) in self._sums.items()}
        self._sums = {}
        return means
