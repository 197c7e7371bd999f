"""Summaries of records: the figures that are logged, printed and compared."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lightning_rs.mechanisms import ABSTAIN
from lightning_rs.metrics import average_certified_radius, certified_accuracy
from lightning_rs.results.records import Record, certificates_of


@dataclass(frozen=True)
class Summary:
    """What one mechanism certified.

    Attributes:
        certified_accuracy: radius to the share of examples that are right with a radius above it.
        acr: average certified radius, wrong and abstained examples as 0, in pixel units.
        abstention_rate: share of examples without a prediction.
        smoothed_accuracy: share of examples whose certified prediction is right.
    """

    certified_accuracy: dict[float, float]
    acr: float
    abstention_rate: float
    smoothed_accuracy: float


def summarize(records: Sequence[Record], radii: Sequence[float]) -> dict[str, Summary]:
    """Mechanism to its summary, over all records."""
    summaries = {}
    for mechanism in records[0].certificates if records else ():
        prediction, radius, label = certificates_of(records, mechanism)
        accuracy = certified_accuracy(prediction, radius, label, radii)
        summaries[mechanism] = Summary(
            certified_accuracy={float(r): float(a) for r, a in zip(radii, accuracy, strict=True)},
            acr=average_certified_radius(prediction, radius, label),
            abstention_rate=float(np.mean(prediction == ABSTAIN)),
            smoothed_accuracy=float(np.mean(prediction == label)),
        )
    return summaries


def clean_accuracy(records: Sequence[Record]) -> float:
    """Share of examples that the base classifier gets right without noise."""
    return sum(r.clean_prediction == r.label for r in records) / len(records) if records else math.nan


def noisy_accuracy(records: Sequence[Record]) -> float:
    """Share of noisy copies that the base classifier gets right, over all estimation draws of all examples."""
    shares = [r.counts.get(r.label, 0) / sum(r.counts.values()) for r in records]
    return math.fsum(shares) / len(shares) if shares else math.nan


def figures(records: Sequence[Record], radii: Sequence[float], prefix: str) -> dict[str, float]:
    """All figures by the names under which they are logged, e.g. `certify/cohen/accuracy@0.25`."""
    named = {f"{prefix}/clean_accuracy": clean_accuracy(records), f"{prefix}/noisy_accuracy": noisy_accuracy(records)}
    for mechanism, summary in summarize(records, radii).items():
        base = f"{prefix}/{mechanism}"
        named |= {f"{base}/accuracy@{r:g}": a for r, a in summary.certified_accuracy.items()}
        named[f"{base}/acr"] = summary.acr
        named[f"{base}/abstention_rate"] = summary.abstention_rate
        named[f"{base}/smoothed_accuracy"] = summary.smoothed_accuracy
    return named


def default_radii(sigma: float) -> tuple[float, ...]:
    """Radii worth a column at this noise: 0, sigma, 2 sigma, 3 sigma. With 100,000 draws 3.81 sigma is the most."""
    return tuple(round(sigma * k, 10) for k in range(4))
