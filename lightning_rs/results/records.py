"""Records: what is known of each certified example, and how a line of a file says it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from lightning_rs.mechanisms import ABSTAIN, Certificate
from lightning_rs.results import schema
from lightning_rs.results.schema import Answer, Count, NotNegative, Positive, Share, Word
from lightning_rs.smoothing.sample import Sample
from lightning_rs.statistics import FIELDS, Statistics
from lightning_rs.statistics.fields import Field, Looks, Sizes, Sparse

# The votes stand beside the other statistics, under names of their own.
_VOTES = {"selection": "selection_counts", "counts": "counts"}


@dataclass(frozen=True)
class ExampleCertificate:
    """What one mechanism certified of one example.

    Attributes:
        prediction: class, or `ABSTAIN`.
        radius: certified radius in pixel units, 0 where it abstains.
        p_lower, p_upper: bounds on the probabilities of that class and of its rivals, where the mechanism has them.
        norm: of the radius.
        fallback: whether a simpler radius stands in, as the solver failed; None of mechanisms without a solver.
    """

    prediction: Answer
    radius: NotNegative
    p_lower: Share | None = None
    p_upper: Share | None = None
    norm: Literal["l2", "l1", "linf", "l2_subspace"] = "l2"
    fallback: bool | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values; without `fallback` where there is no solver."""
        return {key: value for key, value in vars(self).items() if key != "fallback" or value is not None}


@dataclass(frozen=True)
class Record:
    """What is known of one certified example.

    Attributes:
        index: index in its split of the data set.
        label: true class.
        clean_prediction: the base classifier's answer without noise, -1 if it was NaN.
        selection: class to votes of the selection draws, only classes with votes.
        counts: class to votes of the estimation draws, only classes with votes.
        certificates: mechanism to what it certified.
        seconds: time that sampling and certifying took.
        statistics: the other fields of `Statistics` that the mechanisms asked for, but for single scores: a number, a
            list over the classes, or of a histogram the bins with draws.
    """

    index: Count
    label: Count
    clean_prediction: Answer
    selection: dict[Count, Positive]
    counts: dict[Count, Positive]
    certificates: dict[Word, ExampleCertificate]
    seconds: NotNegative
    statistics: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, sample: Sample, label: int, statistics: Statistics, certificates: Mapping[str, Certificate]) -> Record:
        """The record of one example: its sample, the statistics of that alone, and what each mechanism made of them."""
        stored = statistics.to_plain()
        return cls(
            index=sample.index,
            label=label,
            clean_prediction=sample.clean_prediction,
            **{votes: stored.pop(name, {}) for votes, name in _VOTES.items()},
            certificates=certificates_in(certificates),
            seconds=sample.seconds,
            statistics=stored,
        )

    @property
    def plain_statistics(self) -> dict[str, Any]:
        """What `Statistics.to_plain` gave."""
        votes = {name: getattr(self, key) for key, name in _VOTES.items() if getattr(self, key)}
        return votes | self.statistics

    def to_json(self) -> str:
        """One line; floats are written so that they read back to the bit.

        Raises:
            ValueError: a number that is not finite.
        """
        certificates = {name: certificate.to_dict() for name, certificate in self.certificates.items()}
        return json.dumps(vars(self) | {"certificates": certificates}, separators=(",", ":"), allow_nan=False)

    @classmethod
    def from_json(cls, line: str | bytes) -> Record:
        """The record in a line that `to_json` gave.

        Raises:
            ValueError: it is none, with the reason.
        """
        read = schema.decode(line.encode() if isinstance(line, str) else line, _Record)
        values = schema.said(read)
        values["certificates"] = {m: ExampleCertificate(**schema.said(c)) for m, c in read.certificates.items()}
        if "statistics" in values:
            values["statistics"] = schema.said(read.statistics)
        record = cls(**values)
        if not record.counts:
            raise ValueError("it holds no votes")
        if any(c.prediction == ABSTAIN and c.radius for c in record.certificates.values()):
            raise ValueError("it abstains with a radius")
        return record

    @property
    def selected(self) -> int:
        """The class that the selection votes chose (the estimation votes, without a selection stage)."""
        votes = self.selection or self.counts
        return min(votes, key=lambda c: (-votes[c], c))


def index_in(line: bytes) -> int:
    """The index of the example in a line that `Record.to_json` gave: in little time, as the rest is hardly looked at.

    Raises:
        ValueError: the line is not such a record, as far as that was seen.
    """
    try:
        return _INDEXED.decode(line).index
    except (ValueError, RecursionError):
        return Record.from_json(line).index  # Says what is wrong.


def certificate_of(certificate: Certificate, row: int = 0) -> ExampleCertificate:
    """The certificate of one of B examples."""
    bounds = (None if p is None else float(p[row]) for p in (certificate.p_lower, certificate.p_upper))
    return ExampleCertificate(
        int(certificate.prediction[row]),
        float(certificate.radius[row]),
        *bounds,
        certificate.norm,
        None if certificate.fallback is None else bool(certificate.fallback[row]),
    )


def certificates_in(certificates: Mapping[str, Certificate], row: int = 0) -> dict[str, ExampleCertificate]:
    """The certificates of one of B examples."""
    return {label: certificate_of(certificate, row) for label, certificate in certificates.items()}


def certificates_of(
    records: Sequence[Record], mechanism: str
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    """Predictions, radii and labels (B,) of one mechanism."""
    certificates = [record.certificates[mechanism] for record in records]
    return (
        np.array([c.prediction for c in certificates], dtype=np.int64),
        np.array([c.radius for c in certificates], dtype=np.float64),
        np.array([record.label for record in records], dtype=np.int64),
    )


def _stored(field: Field) -> Any:
    """The type of what a record holds of a field."""
    if field.storage is Sparse:
        return dict[Count, Positive]
    if field.storage is Looks:
        return Annotated[list[tuple[Count, Count]], msgspec.Meta(min_length=1)]
    depths = {len(field.shape(Sizes(2, input_shape=shape))) for shape in ((1,), (1, 1, 1))}
    if len(depths) > 1:
        return list
    kind: Any = Count if field.dtype is int else schema.Finite
    for _ in range(depths.pop()):
        kind = list[kind]
    return kind


_INDEXED = msgspec.json.Decoder(msgspec.defstruct("Indexed", [("index", Count)]))
_Statistics = msgspec.defstruct(
    "Statistics",
    [
        *(
            (name, _stored(field), msgspec.UNSET)
            for name, field in FIELDS.items()
            if field.storage and name not in _VOTES.values()
        ),
        ("input_shape", list[Positive], msgspec.UNSET),
        ("regions", list[Word], msgspec.UNSET),
    ],
    forbid_unknown_fields=True,
)
_Record = schema.strict(
    Record, certificates=dict[Word, schema.strict(ExampleCertificate)], statistics=_Statistics
)
