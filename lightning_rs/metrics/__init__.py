"""Figures of merit of certificates: pure functions, and torchmetrics that gather over processes."""

from lightning_rs.metrics.certified import (
    AverageCertifiedRadius,
    CertifiedAccuracy,
    average_certified_radius,
    certified_accuracy,
)
from lightning_rs.metrics.limits import population_limit, sample_limit, subsample_limits

__all__ = [
    "AverageCertifiedRadius",
    "CertifiedAccuracy",
    "average_certified_radius",
    "certified_accuracy",
    "population_limit",
    "sample_limit",
    "subsample_limits",
]
