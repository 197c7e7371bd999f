"""Certify again from records alone: another alpha, other mechanisms, no draw and no classifier."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from lightning_rs.checks import check_alpha
from lightning_rs.data import DATASETS
from lightning_rs.mechanisms import Mechanism, check_trials, resolve_mechanisms
from lightning_rs.results.description import RunDescription
from lightning_rs.results.records import Record, certificate_of
from lightning_rs.smoothing import Statistics
from lightning_rs.statistics.thresholds import SCORE_THRESHOLDS

# Bounds the memory: 1,000 classes and two histograms of 1,001 bins take some 60 MB.
_CHUNK = 1000


def recertify(
    records: Sequence[Record],
    run: RunDescription,
    alpha: float | None = None,
    mechanisms: Sequence[str] | None = None,
) -> tuple[list[Record], RunDescription]:
    """The records and the description that the same draws give with another alpha or other mechanisms.

    Equal to certifying anew with the same seed: the predictions to the bit, bounds and radii but for the last bits of
    NumPy's vector functions, which depend on how many examples they work on at once (below 1e-12, relative).

    Each alpha covers a choice of alpha and mechanism that did not depend on these records: the largest of several
    answers is covered by none of them.

    Args:
        records: finished examples.
        run: what they are of.
        alpha: failure probability of each certificate; the run's when left out.
        mechanisms: names with options; the run's when left out.

    Raises:
        ValueError: no records; alpha, mechanisms or n out of range; a mechanism that needs what the records do not
            hold.
    """
    if not records:
        raise ValueError("there are no records to certify again")
    alpha = check_alpha(run.alpha if alpha is None else alpha)
    resolved = resolve_mechanisms(list(run.mechanisms or ()) if mechanisms is None else list(mechanisms))
    fixed = [label for label, mechanism in resolved.items() if "look_counts" not in mechanism.requires]
    if fixed and "look_counts" in held_fields(records):
        raise ValueError(
            f"{fixed[0]} needs a number of draws that is fixed in advance; these draws were looked at on the way"
        )
    check_held(records, resolved)
    check_trials(resolved, run.n, alpha)
    again = list(_certify(records, run, alpha, resolved))
    return again, replace(run, alpha=alpha, mechanisms=tuple(resolved))


def check_held(records: Sequence[Record], mechanisms: dict[str, Mechanism]) -> None:
    """Refuse mechanisms that need statistics which the records do not hold; the error names both."""
    held = held_fields(records)
    lacking = {label: sorted(m.requires - held) for label, m in mechanisms.items() if m.requires - held}
    if lacking:
        parts = [f"{label} needs {', '.join(fields)}" for label, fields in lacking.items()]
        raise ValueError(
            f"the records do not hold what is needed: {'; '.join(parts)}; certify anew with --mechanisms "
            "that collect it (single scores are never stored)"
        )


def held_fields(records: Sequence[Record]) -> frozenset[str]:
    """Fields of `Statistics` that every record holds."""
    fields = {"counts"} | ({"selection_counts"} if all(record.selection for record in records) else set())
    return frozenset(fields | set.intersection(*(set(record.statistics) for record in records)))


def num_classes_of(records: Sequence[Record], run: RunDescription) -> int:
    """Number of classes: the run's, the data set's, or what the stored sums over classes show.

    Raises:
        ValueError: none of them says it.
    """
    if run.num_classes is not None:
        return run.num_classes
    if run.data in DATASETS:
        return DATASETS[run.data].num_classes
    if "score_sum" in records[0].statistics:
        return len(records[0].statistics["score_sum"])
    raise ValueError(f"neither run.json nor the records say how many classes {run.data} has")


def statistics_of(records: Sequence[Record], sigma: float, num_classes: int) -> Statistics:
    """The records' statistics: those of the draws to the bit, but for single scores."""
    held = held_fields(records)
    bins = len(SCORE_THRESHOLDS) + 1
    fields: dict[str, NDArray] = {"counts": _dense([r.counts for r in records], num_classes)}
    if "selection_counts" in held:
        fields["selection_counts"] = _dense([r.selection for r in records], num_classes)
    for name in held - {"counts", "selection_counts", "input_shape"}:
        stored = [record.statistics[name] for record in records]
        if name == "look_counts":
            looks = max(map(len, stored))
            fields[name] = np.array([path + path[-1:] * (looks - len(path)) for path in stored])
        else:
            fields[name] = _dense(stored, bins) if name.endswith("histogram") else np.array(stored, dtype=np.float64)
    shape = records[0].statistics.get("input_shape")
    return Statistics(sigma, **fields, input_shape=None if shape is None else tuple(shape))


def _certify(
    records: Sequence[Record], run: RunDescription, alpha: float, mechanisms: dict[str, Mechanism]
) -> Iterator[Record]:
    num_classes = num_classes_of(records, run)
    for start in range(0, len(records), _CHUNK):
        part = records[start : start + _CHUNK]
        statistics = statistics_of(part, run.sigma, num_classes)
        certificates = {label: m.certify(statistics, alpha) for label, m in mechanisms.items()}
        for row, record in enumerate(part):
            yield replace(record, certificates={name: certificate_of(c, row) for name, c in certificates.items()})


def _dense(rows: Sequence[dict[int, int]], width: int) -> NDArray[np.int64]:
    """(B, width) from each row's numbers by place."""
    sizes = np.array([len(row) for row in rows])
    total = int(sizes.sum())
    places = np.fromiter(chain.from_iterable(rows), dtype=np.int64, count=total)
    values = np.fromiter(chain.from_iterable(row.values() for row in rows), dtype=np.int64, count=total)
    dense = np.zeros((len(rows), width), dtype=np.int64)
    if total and not 0 <= places.min() <= places.max() < width:
        raise ValueError(f"the records hold votes for class {places.max()}, of {width} classes")
    dense[np.repeat(np.arange(len(rows)), sizes), places] = values
    return dense
