import doctest
from fractions import Fraction

import numpy as np
import pytest
import torch

from lightning_rs.metrics import (
    AverageCertifiedRadius,
    CertifiedAccuracy,
    average_certified_radius,
    certified,
    certified_accuracy,
)

PREDICTION = np.array([1, 1, -1, 2, 0, 3])
LABEL = np.array([1, 1, 1, 0, 0, 3])
RADIUS = np.array([0.5, 0.25, 0.0, 0.9, 0.75, 0.1])


def test_by_hand():
    # Right: examples 0, 1, 4, 5. A radius counts only above r, so .25 and .75 do not reach themselves.
    accuracy = certified_accuracy(PREDICTION, RADIUS, LABEL, [0.0, 0.1, 0.25, 0.5, 0.75])
    assert np.array_equal(accuracy, np.array([4, 3, 2, 1, 0]) / 6)
    assert average_certified_radius(PREDICTION, RADIUS, LABEL) == pytest.approx(1.6 / 6, rel=1e-15)


def test_average_is_rounded_once_and_free_of_order():
    generator = np.random.default_rng(0)
    radius = generator.exponential(size=1000) * 10.0 ** generator.integers(-8, 3, 1000)
    ones = np.ones(1000, dtype=int)
    exact = float(sum(map(Fraction, radius)))
    for order in (np.arange(1000), np.arange(1000)[::-1], generator.permutation(1000)):
        assert average_certified_radius(ones, radius[order], ones) == exact / 1000


def test_metrics_accumulate_and_reset():
    metrics = CertifiedAccuracy([0.0, 0.25]), AverageCertifiedRadius()
    for metric, expected in zip(metrics, ([4 / 6, 2 / 6], 1.6 / 6), strict=True):
        for rows in (slice(0, 2), slice(2, 2), slice(2, 6)):
            metric.update(*(torch.from_numpy(a[rows]) for a in (PREDICTION, RADIUS, LABEL)))
        assert metric.compute().dtype == torch.float64
        assert metric.compute().tolist() == pytest.approx(expected, rel=1e-15)
        metric.reset()
        metric.update(*(torch.from_numpy(a[:1]) for a in (PREDICTION, RADIUS, LABEL)))
        assert metric.compute().tolist() == pytest.approx([1.0, 1.0] if expected == [4 / 6, 2 / 6] else 0.5)


def test_no_examples():
    assert np.isnan(certified_accuracy([], [], [], [0.0])).all()
    assert np.isnan(average_certified_radius([], [], []))


def test_the_examples_in_the_docstrings():
    failures, tried = doctest.testmod(certified)
    assert failures == 0 and tried == 8
