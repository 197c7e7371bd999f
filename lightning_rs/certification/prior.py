"""The certification of the classifier before, from which that of a changed one goes on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from lightning_rs.mechanisms.ugare import Ugare
from lightning_rs.results import Record, RunDescription
from lightning_rs.smoothing import PreparedClassifier
from lightning_rs.smoothing.paired import Before

if TYPE_CHECKING:
    from lightning_rs.certification.examples import Certification


@dataclass(frozen=True)
class Prior:
    """What a certification found of the classifier before, and that classifier.

    Attributes:
        run: its `run.json`.
        records: by index.
        certification: of that classifier, on the device where it is to run again.
    """

    run: RunDescription
    records: Mapping[int, Record]
    certification: Certification

    @property
    def draws(self) -> int:
        """Of each example, those that select the class included."""
        return self.run.n0 + self.run.n

    def prepared(self, image: Tensor, batch_size: int) -> PreparedClassifier:
        """The classifier before, as it was run: see `Certification.prepared`."""
        settings = replace(self.certification.settings, batch_size=batch_size)
        return replace(self.certification, settings=settings).prepared(image)

    def known(self, mechanism: Ugare, num_classes: int) -> dict[int, Before]:
        """Index to what the votes of before say, and whether the mechanism takes draws of the changed one alone."""
        known = {}
        for index, record in self.records.items():
            selection = np.zeros(num_classes, dtype=np.int64)
            selection[list(record.selection)] = list(record.selection.values())
            votes = record.counts.get(record.selected, 0)
            known[index] = Before(selection, votes, self.run.n, bool(mechanism.alone(votes, self.run.n)))
        return known

    def check_label(self, index: int, label: int) -> None:
        """Refuse an image that is not that of the record, as far as its label shows it.

        Raises:
            ValueError: names both labels.
        """
        if label != self.records[index].label:
            raise ValueError(
                f"image {index} has the label {label}, and its record of the classifier before "
                f"{self.records[index].label}: these are other images"
            )
