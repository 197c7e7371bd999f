"""Means over an epoch: weighted by rows, of names that come and go, on the device and without gradients."""

import pytest
import torch

from lightning_rs.objectives.epoch_means import EpochMeans


def test_means_are_over_rows():
    means = EpochMeans()
    means.add({"loss": torch.tensor(1.0, requires_grad=True), "part": torch.tensor(4.0)}, 64)
    means.add({"loss": torch.tensor(3.0)}, 16)
    taken = means.take()
    assert {name: (float(mean), rows) for name, (mean, rows) in taken.items()} == {
        "loss": (pytest.approx((64 * 1 + 16 * 3) / 80), 80),
        "part": (4.0, 64),
    }
    assert not taken["loss"][0].requires_grad


def test_what_is_taken_does_not_count_again():
    means = EpochMeans()
    means.add({"loss": torch.tensor(1.0)}, 8)
    means.take()
    assert means.take() == {}
    means.add({"loss": torch.tensor(5.0)}, 8)
    assert float(means.take()["loss"][0]) == 5.0


def test_nobody_asks_for_a_value():
    """A tensor without values refuses whoever does."""
    means = EpochMeans()
    means.add({"loss": torch.empty((), device="meta")}, 8)
    mean, rows = means.take()["loss"]
    assert mean.device.type == "meta" and rows == 8
