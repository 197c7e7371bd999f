"""What a report needs of records: numbers that are gathered one record after the other, so that none has to be kept."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from lightning_rs.results.records import Record

_REAL = ("noisy", "share", "votes", "rival", "seconds")
_TYPES = {"index": "q", "label": "q", "clean": "b"} | dict.fromkeys(_REAL, "d")


class Columns:
    """Columns of numbers, one row a record, see `Run`; and those of each mechanism of the first record.

    Attributes:
        norms: of each mechanism's radii.
        fallbacks: radii for which a simpler one stands in, because their solver failed.
    """

    def __init__(self) -> None:
        self._columns = {name: array(code) for name, code in _TYPES.items()}
        self._certificates: dict[str, tuple[array, array]] = {}
        self.norms: dict[str, str] = {}
        self.fallbacks = 0

    def gather(self, records: Iterable[Record]) -> Iterator[Record]:
        """The records, each once its row is there."""
        for record in records:
            self.add(record)
            yield record

    def add(self, record: Record) -> None:
        """Append a row."""
        if not self._columns["index"]:
            self._certificates = {mechanism: (array("q"), array("d")) for mechanism in record.certificates}
            self.norms = {mechanism: certificate.norm for mechanism, certificate in record.certificates.items()}
        votes, selected = sum(record.counts.values()), record.selected
        row = {
            "index": record.index,
            "label": record.label,
            "clean": record.clean_prediction == record.label,
            "noisy": record.counts.get(record.label, 0) / votes,
            "share": record.counts.get(selected, 0) / votes,
            "votes": votes,
            "rival": max((v for c, v in record.counts.items() if c != selected), default=0) / votes,
            "seconds": record.seconds,
        }
        for name, value in row.items():
            self._columns[name].append(value)
        for mechanism, (prediction, radius) in self._certificates.items():
            certificate = record.certificates[mechanism]
            prediction.append(certificate.prediction)
            radius.append(certificate.radius)
        self.fallbacks += sum(bool(certificate.fallback) for certificate in record.certificates.values())

    def by_index(self) -> tuple[dict[str, NDArray], dict[str, tuple[NDArray[np.int64], NDArray[np.float64]]]]:
        """The columns by name, and mechanism to predictions and radii; (B,) each, by index."""
        columns = {name: np.array(values) for name, values in self._columns.items()}
        order = np.argsort(columns["index"], kind="stable")
        columns["clean"] = columns["clean"].astype(np.bool_)
        certificates = {m: (np.array(p)[order], np.array(r)[order]) for m, (p, r) in self._certificates.items()}
        return {name: values[order] for name, values in columns.items()}, certificates
