"""Whether records are what their run could have given, and whether their certificates follow from their statistics."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from lightning_rs.mechanisms import Certificate, Mechanism, parse_mechanism
from lightning_rs.results.description import RunDescription
from lightning_rs.results.recomputation import chunks, held_fields, num_classes_of, statistics_of
from lightning_rs.results.records import ExampleCertificate, Record, certificate_of

# Other machines' and versions' vector functions differ in the last bits.
_RELATIVE = 1e-9
# Of mechanisms that take long, so many certificates are computed again, evenly spread.
COSTLY_EXAMPLES = 200
# Sums of every pixel, as older versions kept them, and what is kept of them now: a run may have been resumed.
_OF_REGIONS = {"gradient_sums", "region_moments", "regions"}


class Contradiction(ValueError):
    """A record that cannot be what its run gave.

    Attributes:
        position: its place among the records.
    """

    def __init__(self, position: int, reason: str) -> None:
        super().__init__(reason)
        self.position = position


def check_record(record: Record, run: RunDescription) -> None:
    """Refuse a record that its run could not have given, whatever the draws said.

    Raises:
        ValueError: with the reason.
    """
    if run.num_classes is not None:
        classes = {
            "label": record.label,
            "clean prediction": record.clean_prediction,
            "votes": max((*record.selection, *record.counts)),
            "prediction": max((c.prediction for c in record.certificates.values()), default=0),
        }
        for what, number in classes.items():
            if number >= run.num_classes:
                raise ValueError(f"{what} of class {number}, of {run.num_classes} classes")
    shape = record.statistics.get("input_shape")
    if None not in (shape, run.input_shape) and tuple(shape) != run.input_shape:
        raise ValueError(f"an input of shape {tuple(shape)}, and those of the run have {run.input_shape}")
    sequential = "look_counts" in record.statistics
    votes = sum(record.counts.values())
    if votes > run.n or (votes != run.n and not sequential):
        raise ValueError(f"{votes:,} votes, of {'at most ' if sequential else ''}n = {run.n:,} draws")
    selecting = sum(record.selection.values())
    if not min(1, run.n0) <= selecting <= run.n0:  # Draws with NaN scores select nothing.
        raise ValueError(f"{selecting:,} votes that select the class, of n0 = {run.n0:,} draws")
    if run.mechanisms is not None and set(record.certificates) != set(run.mechanisms):
        raise ValueError(
            f"certificates of {_list(record.certificates)}, and the run's mechanisms are {_list(run.mechanisms)}"
        )


def verify(records: Sequence[Record], run: RunDescription) -> list[str]:
    """Compute the certificates of records again from their statistics, where these are stored.

    Args:
        records: each passes `check_record`.
        run: what they are of.

    Returns:
        What could not be computed again, in words.

    Raises:
        Contradiction: of the first record with another prediction, radius or bound than follows.
    """
    for _ in verified(records, len(records), run):
        pass
    return not_verified(records, run)


def verified(records: Iterable[Record], count: int, run: RunDescription) -> Iterator[Record]:
    """The records, each once its certificates have been computed again; a part of them is in memory at a time.

    Of mechanisms that take long (`Mechanism.costly`), those of `COSTLY_EXAMPLES` are.

    Args:
        records: each passes `check_record`.
        count: how many there are.
        run: what they are of.

    Raises:
        Contradiction: as `verify`.
    """
    remaining = iter(records)
    first = next(remaining, None)
    if first is None:
        return
    try:
        num_classes = num_classes_of([first], run)
        mechanisms, _ = _computable(first, run)
    except ValueError:  # `not_verified` tells it.
        num_classes, mechanisms = 1, {}
    costly = {label: mechanism for label, mechanism in mechanisms.items() if mechanism.costly}
    cheap = {label: mechanism for label, mechanism in mechanisms.items() if label not in costly}
    some = np.unique(np.linspace(0, count - 1, COSTLY_EXAMPLES).astype(int))
    start = 0
    for part in chunks(chain([first], remaining), num_classes):
        places = np.arange(start, start + len(part))
        for record, place in zip(part, places, strict=True):
            _check_alike(record, first, place)
        if cheap:
            _compare(part, places, run, num_classes, cheap)
        chosen = np.flatnonzero(np.isin(places, some)) if costly else []
        if len(chosen):
            _compare([part[row] for row in chosen], places[chosen], run, num_classes, costly)
        yield from part
        start += len(part)


def not_verified(records: Sequence[Record], run: RunDescription) -> list[str]:
    """What of the certificates `verified` cannot compute again, in words."""
    if not records:
        return []
    first = records[0]
    mechanisms, notes = _computable(first, run)
    try:
        num_classes_of([first], run)
    except ValueError as error:
        return [f"certificates were not computed again: {error}"]
    costly = [label for label, mechanism in mechanisms.items() if mechanism.costly]
    if costly and len(records) > COSTLY_EXAMPLES:
        notes.append(f"of {_list(costly)} {COSTLY_EXAMPLES} of {len(records):,} certificates were computed again")
    return notes


def _check_alike(record: Record, first: Record, position: int) -> None:
    """Refuse a record that holds other things than the first one."""
    reason = None
    held, expected = (one.plain_statistics.keys() - _OF_REGIONS for one in (record, first))
    if held != expected:
        reason = "it holds other statistics than the first record"
    elif record.statistics.get("input_shape") != first.statistics.get("input_shape"):
        reason = "its input has another shape than that of the first record"
    elif record.certificates.keys() != first.certificates.keys():
        reason = "it holds other mechanisms than the first record"
    if reason:
        raise Contradiction(int(position), reason)


def _computable(record: Record, run: RunDescription) -> tuple[dict[str, Mechanism], list[str]]:
    """The mechanisms that are known and whose statistics are stored, by label; and which are not, in words."""
    mechanisms, unknown, unstored = {}, [], []
    held = held_fields([record], run)
    for label in record.certificates:
        try:
            mechanism = parse_mechanism(label)
        except ValueError:
            unknown.append(label)
            continue
        if not mechanism.missing(held):
            mechanisms[label] = mechanism
        else:
            unstored.append(label)
    reasons = ((unknown, "which is not known here"), (unstored, "whose statistics are not stored"))
    return mechanisms, [
        f"certificates were not computed again of {_list(labels)}, {reason}" for labels, reason in reasons if labels
    ]


def _compare(
    records: Sequence[Record],
    positions: NDArray[np.int64],
    run: RunDescription,
    num_classes: int,
    mechanisms: dict[str, Mechanism],
) -> None:
    try:
        fault = _fault(records, run, num_classes, mechanisms)
    except (ValueError, ArithmeticError) as error:
        if len(records) > 1:  # Which of them it is.
            for row in range(len(records)):
                _compare(records[row : row + 1], positions[row : row + 1], run, num_classes, mechanisms)
        raise Contradiction(int(positions[0]), str(error)) from None
    if fault is not None:
        raise Contradiction(int(positions[fault[0]]), fault[1])


def _fault(
    records: Sequence[Record], run: RunDescription, num_classes: int, mechanisms: dict[str, Mechanism]
) -> tuple[int, str] | None:
    """The first record with a certificate that does not follow, and what does."""
    found = []
    with np.errstate(all="ignore"):
        statistics = statistics_of(records, run, num_classes)
        for label, mechanism in mechanisms.items():
            certificate = mechanism.certify(statistics, run.spent_alpha)
            written = [record.certificates[label] for record in records]
            differing = np.flatnonzero(_differs(written, certificate, run.sigma))
            if len(differing):
                row = int(differing[0])
                told, follows = _text(written[row]), _text(certificate_of(certificate, row))
                image = records[row].index
                found.append((row, f"{label} of image {image} is {told}, but from its statistics follows {follows}"))
    return min(found, default=None)


def _differs(written: Sequence[ExampleCertificate], certificate: Certificate, sigma: float) -> NDArray[np.bool_]:
    """Where certificates differ by more than rounding."""
    prediction = np.array([c.prediction for c in written])
    radius = np.array([c.radius for c in written])
    largest = np.maximum(radius, certificate.radius)
    rounded = (largest > 0) & (largest <= _RELATIVE * sigma)  # To such a radius, or to abstention.
    differing = (_apart(radius, certificate.radius, sigma) | (prediction != certificate.prediction)) & ~rounded
    differing |= np.array([c.norm != certificate.norm for c in written])
    for name in ("p_lower", "p_upper"):
        told = np.array([getattr(c, name) for c in written], dtype=np.float64)
        follows = getattr(certificate, name)
        differing |= np.isnan(told) != (follows is None)
        if follows is not None:
            differing |= _apart(told, follows, 1.0)
    return differing


def _apart(a: NDArray[np.float64], b: NDArray[np.float64], unit: float) -> NDArray[np.bool_]:
    """Whether they differ by more than rounding: also near 0, where what remains of a difference has fewer digits."""
    return np.abs(a - b) > _RELATIVE * np.maximum(np.maximum(np.abs(a), np.abs(b)), unit)


def _text(certificate: ExampleCertificate) -> str:
    bounds = (f"{name} {p!r}" for name in ("p_lower", "p_upper") if (p := getattr(certificate, name)) is not None)
    answer = f"class {certificate.prediction} with radius {certificate.radius!r}"
    return ", ".join([answer if certificate.prediction >= 0 else "none", certificate.norm, *bounds])


def _list(labels: object) -> str:
    return ", ".join(labels) or "none"
