"""Certificates from the statistics that records hold, without any draw."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby, islice
from typing import Any

from lightning_rs.data import DATASETS
from lightning_rs.mechanisms import Mechanism
from lightning_rs.results.description import RunDescription
from lightning_rs.results.records import Record, certificates_in
from lightning_rs.statistics import Statistics, readable_fields

# Bounds the memory: sums over 1,000 classes take some 32 MB as records hold them, and less as arrays.
_ROWS, _ENTRIES = 1000, 5 * 10**5


def recompute(
    records: Sequence[Record], run: RunDescription, alpha: float, mechanisms: Mapping[str, Mechanism]
) -> Iterator[Record]:
    """The records with the certificates that follow from their statistics; a part of them is in memory at a time.

    Args:
        records: they hold what the mechanisms require.
        run: what they are of.
        alpha: failure probability of each certificate.
        mechanisms: by label.

    Raises:
        ValueError: the number of classes is not known, or statistics that no draws can have.
    """
    num_classes = num_classes_of(records, run)
    for part in chunks(records, num_classes):
        statistics = statistics_of(part, run, num_classes)
        certificates = {label: mechanism.certify(statistics, alpha) for label, mechanism in mechanisms.items()}
        for row, record in enumerate(part):
            yield replace(record, certificates=certificates_in(certificates, row))


def statistics_of(records: Sequence[Record], run: RunDescription, num_classes: int) -> Statistics:
    """What the draws of these records said, one row each: the fields that all of them hold.

    Raises:
        ValueError: no draws can have said it.
    """
    plain = [_plain(record, run) for record in records]
    return Statistics.from_plain(plain, run.sigma, num_classes, run.noise_name, run.sampling_error)


def chunks(records: Iterable[Record], num_classes: int) -> Iterator[list[Record]]:
    """The records in parts whose statistics fit into memory. Those of a part hold the sums of every pixel, or none do:
    older versions kept them where what is known of a region is kept now."""
    for shape, alike in groupby(records, _shape_of_sums):
        size = max(1, min(_ROWS, _ENTRIES // max(num_classes, 4 * math.prod(shape) if shape else 0)))
        while part := list(islice(alike, size)):
            yield part


def _shape_of_sums(record: Record) -> tuple[int, ...]:
    """The shape of inputs whose every pixel has sums in the record; empty if none does."""
    return tuple(record.statistics.get("input_shape", ())) if "gradient_sums" in record.statistics else ()


def held_fields(records: Sequence[Record], run: RunDescription) -> frozenset[str]:
    """Fields of `Statistics` that every record holds, or its run says."""
    named = {region for record in records for region in record.statistics.get("regions", ())}
    held = []
    for row in (_plain(record, run) for record in records):
        # From the sums of every pixel follows what is needed of any region.
        regions = named if "gradient_sums" in row else row.get("regions", ())
        held.append(readable_fields(row.keys() - {"regions"}, regions))
    return frozenset.intersection(*held)


def _plain(record: Record, run: RunDescription) -> dict[str, Any]:
    said = {} if run.input_shape is None else {"input_shape": list(run.input_shape)}
    return said | record.plain_statistics


def num_classes_of(records: Sequence[Record], run: RunDescription) -> int:
    """Number of classes: the run's, the data set's, or what the stored sums over classes show.

    Raises:
        ValueError: none of them says it.
    """
    if run.num_classes is not None:
        return run.num_classes
    known: Any = DATASETS.get(run.data) if run.data in DATASETS else None
    if hasattr(known, "num_classes"):
        return int(known.num_classes)
    if "score_sum" in records[0].statistics:
        return len(records[0].statistics["score_sum"])
    raise ValueError(f"neither run.json nor the records say how many classes {run.data} has")
