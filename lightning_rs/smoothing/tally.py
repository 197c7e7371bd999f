"""Running sums over the noisy draws of many examples, kept on the device: exactly what the chosen mechanisms need."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lightning_rs.smoothing.plan import RowKind
from lightning_rs.statistics import FIELDS, MARGIN_THRESHOLDS, SCORE_THRESHOLDS, fields_from
from lightning_rs.statistics.fields import Sizes, Source

SCORE_FIELDS = fields_from(Source.SCORES)
"""Fields of `Statistics` that need scores, not only votes. All but the first two depend on the selected class."""

UNIT = 2.0**-32
"""Scores are added in whole units: sums of integers are the same in every order, and exact for up to 2**31 draws."""

_THRESHOLDS = {"score_histogram": SCORE_THRESHOLDS, "margin_histogram": MARGIN_THRESHOLDS}


class Tally:
    """A table of integers with a row for every example in flight, and one more for the padding of batches.

    A row with a NaN score votes for class K, which stands for no class. In the sums and histograms it counts against
    the example as far as it can: score 0 for the selected class, 1 for every other, margin -1.

    The scores of every field are the softmax's, divided by their sum where that exceeds one, as sums in float32 do, and
    then rounded down to a `UNIT`: as if the base classifier gave them so. They lie in [0, 1] and add up to at most one:
    in units they are integers whose sum is below 2**32 + 1 whatever float64 rounds, for less than two million classes.
    All fields are of these scores and no others; squares are rounded up, `scores` down to float32.

    Args:
        slots: number of examples in flight.
        num_classes: number of classes K.
        fields: which of `SCORE_FIELDS` to keep; they need a selection stage. `scores` needs 4 bytes a draw, the memory
            of the others does not depend on the number of draws.
        draws: the largest number n of main draws.
        device: where the logits are.
    """

    def __init__(self, slots: int, num_classes: int, fields: Collection[str], draws: int, device: torch.device) -> None:
        self.num_classes, self.padding, self.draws = num_classes, slots, draws
        self._fields = SCORE_FIELDS.intersection(fields)
        widths = {kind.name: num_classes + 1 for kind in RowKind}
        # Single scores are no sums: they have a table of their own.
        summed = [name for name in FIELDS if name in self._fields - {"scores"}]
        widths |= {name: (*FIELDS[name].shape(Sizes(num_classes)), 1)[0] for name in summed}
        ends = np.cumsum([0, *widths.values()])
        self._columns = {name: slice(a, b) for name, a, b in zip(widths, ends[:-1], ends[1:], strict=True)}
        self._table = torch.zeros((slots + 1, int(ends[-1])), dtype=torch.int64, device=device)
        held = self.draws if "scores" in self._fields else 0
        self._scores = torch.zeros((slots + 1, held), dtype=torch.float32, device=device)
        self._classes = torch.arange(num_classes, device=device)
        self._thresholds = {
            name: torch.as_tensor(_THRESHOLDS[name], dtype=torch.float64, device=device)
            for name in _THRESHOLDS
            if name in self._fields
        }

    def clear(self, slots: Tensor) -> None:
        """Make the places (m,) ready for other examples."""
        self._table[slots] = 0

    def update(self, logits: Tensor, slot: Tensor, kind: Tensor, draw: Tensor) -> Tensor:
        """Count a batch; returns (rows,) bool, whether each row votes for the class that its example's selection chose.

        Args:
            logits: (rows, K).
            slot: (rows,) int64, the example's place; `padding` for rows to ignore.
            kind: (rows,) int64, see `RowKind`. An example's selection rows must all come before its main ones.
            draw: (rows,) int64, the draw's number within its kind.
        """
        vote = torch.where(logits.isnan().any(dim=1), self.num_classes, logits.argmax(dim=1))
        self._add(slot, kind * (self.num_classes + 1) + vote)
        selected = self._table[:, self._columns[RowKind.SELECTION.name]][:, : self.num_classes].argmax(dim=1)[slot]
        voted = vote == selected
        if not self._fields:
            return voted
        slot = torch.where(kind == RowKind.MAIN, slot, self.padding)
        scores = scores_of(logits)
        # Infinite logits make the softmax NaN as well.
        against = (self._classes != selected[:, None]).to(scores.dtype)
        scores = torch.where(scores.isnan().any(dim=1, keepdim=True), against, scores)
        own = scores.gather(1, selected[:, None])
        if "scores" in self._fields:
            place = slot * self.draws + torch.where(slot == self.padding, 0, draw)
            self._scores.view(-1)[place] = _float32_below(own[:, 0])
        self._sum("score_sum", slot, lambda: scores / UNIT)
        self._sum("score_square_sum", slot, lambda: (scores.square() / UNIT).ceil())
        self._sum("margin_square_sum", slot, lambda: ((own - scores).square() / UNIT).ceil())
        if self._fields & {"margin_sum", "margin_histogram"}:
            rival = scores.scatter(1, selected[:, None], -1.0).amax(dim=1)
            margin = own[:, 0] - rival
            self._sum("margin_sum", slot, lambda: margin[:, None] / UNIT)
            self._count("margin_histogram", slot, margin)
        self._count("score_histogram", slot, own[:, 0])
        return voted

    def read(self, slots: Tensor) -> tuple[Tensor, Tensor]:
        """What has been counted for the examples at the places (m,), on the device: for `result`, row by row."""
        return self._table[slots], self._scores[slots]

    def votes(self, row: NDArray[np.int64], kind: RowKind) -> NDArray[np.int64]:
        """(K + 1,) votes of one kind; the last entry counts NaN scores."""
        return row[self._columns[kind.name]]

    def result(self, row: NDArray[np.int64], scores: NDArray[np.float32]) -> dict[str, NDArray]:
        """Score fields of one example."""
        values = {name: row[self._columns[name]] for name in self._fields if name in self._columns}
        result = {name: v if name in _THRESHOLDS else v.astype(np.float64) * UNIT for name, v in values.items()}
        if "margin_sum" in result:
            result["margin_sum"] = result["margin_sum"][0]
        return result | ({"scores": scores} if "scores" in self._fields else {})

    def _add(self, slot: Tensor, column: Tensor) -> None:
        place = slot * self._table.shape[1] + column
        self._table.view(-1).index_add_(0, place, torch.ones_like(place))

    def _sum(self, name: str, slot: Tensor, units) -> None:
        if name in self._fields:
            self._table[:, self._columns[name]].index_add_(0, slot, units().long())

    def _count(self, name: str, slot: Tensor, values: Tensor) -> None:
        if name in self._fields:
            bins = torch.bucketize(values.contiguous(), self._thresholds[name], right=True)
            self._add(slot, bins + self._columns[name].start)


def scores_of(logits: Tensor) -> Tensor:
    """The scores (rows, K) that soft mechanisms certify, float64: see `Tally`; NaN where logits are none."""
    scores = torch.softmax(logits.float(), dim=1).double()
    return (scores / scores.sum(dim=1, keepdim=True).clamp(min=1.0) / UNIT).floor() * UNIT


def _float32_below(values: Tensor) -> Tensor:
    nearest = values.float()
    return torch.where(nearest.double() > values, torch.nextafter(nearest, torch.zeros_like(nearest)), nearest)
