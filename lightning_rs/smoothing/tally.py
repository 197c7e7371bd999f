"""Running sums over noisy draws, kept on the device: exactly what the chosen mechanisms need."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lightning_rs.mechanisms.thresholds import MARGIN_THRESHOLDS, SCORE_THRESHOLDS

SCORE_FIELDS = frozenset(
    {
        "score_sum",
        "score_square_sum",
        "margin_sum",
        "margin_square_sum",
        "score_histogram",
        "margin_histogram",
        "scores",
    }
)
"""Fields of `Statistics` that need scores, not only votes. All but the first two depend on the selected class."""


class VoteTally:
    """Votes per class; a row with a NaN score votes for class K, which stands for no class."""

    def __init__(self, num_classes: int, device: torch.device) -> None:
        self._classes = torch.arange(num_classes + 1, device=device)
        self._counts = torch.zeros(num_classes + 1, dtype=torch.int64, device=device)

    def update(self, logits: Tensor) -> None:
        vote = torch.where(logits.isnan().any(dim=1), len(self._classes) - 1, logits.argmax(dim=1))
        self._counts += (vote[:, None] == self._classes).sum(dim=0)

    def result(self) -> NDArray[np.int64]:
        """(K + 1,) int64, on the host."""
        return self._counts.cpu().numpy()


class ScoreTally:
    """Sums and histograms of softmax scores, for one example and its selected class.

    A row with a NaN score counts against the example as far as it can: score 0 for the selected class, 1 for every
    other, margin -1.

    Args:
        fields: which of `SCORE_FIELDS` to keep. `scores` needs 4 bytes a draw, the others are independent of n.
        num_classes: number of classes K.
        selected: the selected class.
        draws: number of draws n to come.
        device: where the logits are.
    """

    def __init__(
        self, fields: Collection[str], num_classes: int, selected: int, draws: int, device: torch.device
    ) -> None:
        self.selected = selected
        self._fields = frozenset(fields)
        self._done = 0
        double = {"dtype": torch.float64, "device": device}
        self._sums = {
            name: torch.zeros(shape, **double)
            for name, shape in (
                ("score_sum", num_classes),
                ("score_square_sum", num_classes),
                ("margin_sum", ()),
                ("margin_square_sum", num_classes),
            )
            if name in self._fields
        }
        self._thresholds = {
            name: torch.as_tensor(values, **double)
            for name, values in (("score_histogram", SCORE_THRESHOLDS), ("margin_histogram", MARGIN_THRESHOLDS))
            if name in self._fields
        }
        self._histograms = {
            name: torch.zeros(len(values) + 1, dtype=torch.int64, device=device)
            for name, values in self._thresholds.items()
        }
        self._scores = torch.empty(draws if "scores" in self._fields else 0, device=device)
        self._against = torch.ones(num_classes, device=device)
        self._against[selected] = 0.0

    def update(self, logits: Tensor) -> None:
        scores = torch.softmax(logits.float(), dim=1)
        # Infinite logits make the softmax NaN as well.
        scores = torch.where(scores.isnan().any(dim=1, keepdim=True), self._against, scores)
        own = scores[:, self.selected]
        if "scores" in self._fields:
            self._scores[self._done : self._done + len(scores)] = own
        self._done += len(scores)
        exact = scores.double()
        if "score_sum" in self._sums:
            self._sums["score_sum"] += exact.sum(dim=0)
        if "score_square_sum" in self._sums:
            self._sums["score_square_sum"] += exact.square().sum(dim=0)
        if "margin_square_sum" in self._sums:
            self._sums["margin_square_sum"] += (exact[:, self.selected, None] - exact).square().sum(dim=0)
        if "margin_sum" in self._sums or "margin_histogram" in self._histograms:
            rivals = exact.clone()
            rivals[:, self.selected] = -1.0
            margin = exact[:, self.selected] - rivals.amax(dim=1)
            if "margin_sum" in self._sums:
                self._sums["margin_sum"] += margin.sum()
            self._count("margin_histogram", margin)
        self._count("score_histogram", exact[:, self.selected])

    def _count(self, name: str, values: Tensor) -> None:
        if name in self._histograms:
            bins = torch.bucketize(values.contiguous(), self._thresholds[name], right=True)
            self._histograms[name].index_add_(0, bins, torch.ones_like(bins))

    def result(self) -> dict[str, NDArray]:
        """Field to its array for this one example, on the host."""
        tensors = self._sums | self._histograms | ({"scores": self._scores} if "scores" in self._fields else {})
        return {name: tensor.cpu().numpy() for name, tensor in tensors.items()}
