"""Certify again from records alone: another alpha, other mechanisms, no draw and no classifier."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from lightning_rs.checks import check_alpha
from lightning_rs.data import DATASETS
from lightning_rs.mechanisms import MechanismSet, parse_mechanism
from lightning_rs.results import Record, RunDescription
from lightning_rs.results.records import certificates_in
from lightning_rs.statistics import Statistics

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
            hold, or that only the run's file names.
    """
    if not records:
        raise ValueError("there are no records to certify again")
    alpha = check_alpha(run.alpha if alpha is None else alpha)
    # What a file names is looked up, never imported.
    chosen = MechanismSet([parse_mechanism(text) for text in run.mechanisms] if mechanisms is None else mechanisms)
    held = held_fields(records)
    if "look_counts" in held:
        for mechanism in chosen.values():
            mechanism.refuse_looks()
    lacking = {label: sorted(m.requires - held) for label, m in chosen.items() if m.requires - held}
    if lacking:
        parts = [f"{label} needs {', '.join(fields)}" for label, fields in lacking.items()]
        raise ValueError(
            f"the records do not hold what is needed: {'; '.join(parts)}; certify anew with --mechanisms "
            "that collect it (single scores are never stored)"
        )
    chosen.check_noise(run.noise_name)
    chosen.check_trials(run.n, alpha)
    return list(_certify(records, run, alpha, chosen)), replace(run, alpha=alpha, mechanisms=tuple(chosen))


def held_fields(records: Sequence[Record]) -> frozenset[str]:
    """Fields of `Statistics` that every record holds."""
    return frozenset(set.intersection(*(set(record.plain_statistics) for record in records)))


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


def _certify(
    records: Sequence[Record], run: RunDescription, alpha: float, mechanisms: MechanismSet
) -> Iterator[Record]:
    num_classes = num_classes_of(records, run)
    for start in range(0, len(records), _CHUNK):
        part = records[start : start + _CHUNK]
        plain = [record.plain_statistics for record in part]
        statistics = Statistics.from_plain(plain, run.sigma, num_classes, run.noise_name, run.sampling_error)
        certificates = mechanisms.certify(statistics, alpha)
        for row, record in enumerate(part):
            yield replace(record, certificates=certificates_in(certificates, row))
