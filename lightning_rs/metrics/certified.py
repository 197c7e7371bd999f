"""Certified accuracy at given radii, and the average certified radius."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat


def certified_accuracy(
    prediction: ArrayLike, radius: ArrayLike, label: ArrayLike, radii: ArrayLike
) -> NDArray[np.float64]:
    """Share of examples whose prediction is right and certified at each r: mean of 1[prediction = label, radius > r].

    The inequality is strict, because a certificate holds on the open ball of its radius. At r = 0 this is the accuracy
    of the smoothed classifier on clean inputs with abstentions counted as wrong.

    Args:
        prediction: (B,) classes; an abstention equals no label.
        radius: (B,) certified radii.
        label: (B,) labels.
        radii: (R,) radii of interest, in the units of `radius`.

    Returns:
        (R,) float64; nan without examples.
    """
    prediction, radius, label = np.asarray(prediction), np.asarray(radius, dtype=np.float64), np.asarray(label)
    radii = np.asarray(radii, dtype=np.float64)
    if not len(label):
        return np.full(len(radii), np.nan)
    return ((prediction == label)[:, None] & (radius[:, None] > radii)).mean(axis=0)


def average_certified_radius(prediction: ArrayLike, radius: ArrayLike, label: ArrayLike) -> float:
    """ACR: mean over the examples of radius * 1[prediction = label], so wrong and abstained examples count as 0.

    The sum is exact before it is rounded once, so the order of the examples does not matter. Arguments are those of
    `certified_accuracy`; nan without examples.

    Source: R. Zhai et al., "MACER: Attack-free and Scalable Robust Training via Maximizing Certified Radius", 2020.
    """
    right = np.where(np.asarray(prediction) == np.asarray(label), np.asarray(radius, dtype=np.float64), 0.0)
    return math.fsum(right) / len(right) if len(right) else math.nan


class _CertificateMetric(Metric):
    """Keeps every certificate, so that the result is the same to the bit however examples and processes are cut."""

    full_state_update = False
    outcomes: list[Tensor] | Tensor

    def __init__(self) -> None:
        super().__init__()
        # One float64 matrix, so that a process without examples can join the gathering; classes are exact in it.
        self.add_state("outcomes", [], dist_reduce_fx="cat")
        self.set_dtype(torch.float64)

    def update(self, prediction: Tensor, radius: Tensor, label: Tensor) -> None:
        """Add the certificates of a batch, each argument (B,)."""
        self.outcomes.append(torch.stack([prediction.double(), radius.double(), label.double()], dim=1).flatten())

    def _gathered(self) -> NDArray[np.float64]:
        outcomes = dim_zero_cat(self.outcomes) if len(self.outcomes) else torch.empty(0)
        return outcomes.double().cpu().numpy().reshape(-1, 3).T


class CertifiedAccuracy(_CertificateMetric):
    """`certified_accuracy` of all updates on all processes, for modules of your own.

    Args:
        radii: radii of interest, in the units of the input.

    Example:
        >>> metric = CertifiedAccuracy([0.0, 0.25, 0.5])
        >>> metric.update(torch.tensor([1, 0, -1]), torch.tensor([0.5, 0.75, 0.0]), torch.tensor([1, 2, 1]))
        >>> metric.update(torch.tensor([2]), torch.tensor([0.25]), torch.tensor([2]))
        >>> metric.compute()
        tensor([0.5000, 0.2500, 0.0000], dtype=torch.float64)
    """

    def __init__(self, radii: Sequence[float]) -> None:
        super().__init__()
        self.radii = tuple(float(r) for r in radii)

    def compute(self) -> Tensor:
        """(R,) float64."""
        return torch.from_numpy(certified_accuracy(*self._gathered(), self.radii))


class AverageCertifiedRadius(_CertificateMetric):
    """`average_certified_radius` of all updates on all processes, for modules of your own.

    Example:
        >>> metric = AverageCertifiedRadius()
        >>> metric.update(torch.tensor([1, 0, -1]), torch.tensor([0.5, 0.75, 0.0]), torch.tensor([1, 2, 1]))
        >>> metric.update(torch.tensor([2]), torch.tensor([0.25]), torch.tensor([2]))
        >>> metric.compute()
        tensor(0.1875, dtype=torch.float64)
    """

    def compute(self) -> Tensor:
        """A float64 scalar, in the units of the input."""
        return torch.tensor(average_certified_radius(*self._gathered()), dtype=torch.float64)
