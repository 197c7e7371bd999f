import pytest
import reference_losses as reference
import torch
from loss_checks import LossChecks
from objective_checks import ARGUMENTS, ObjectiveChecks, batch

from lightning_rs.objectives import MACER, macer_loss


class TestMACERLoss(LossChecks):
    @staticmethod
    def loss(u, y):
        return macer_loss(u.flatten(0, 1), y, k=len(u), sigma=0.5, lbd=12.0, beta=16.0, gamma=8.0)

    @staticmethod
    def formula(u, y):
        return reference.macer(u, y, 0.5, 12.0, 16.0, 8.0)


class TestMACERLossAtAnotherTemperature(LossChecks):
    @staticmethod
    def loss(u, y):
        return macer_loss(u.flatten(0, 1), y, k=len(u), sigma=0.25, lbd=3.0, beta=1.0, gamma=4.0)

    @staticmethod
    def formula(u, y):
        return reference.macer(u, y, 0.25, 3.0, 1.0, 4.0)


class TestMACER(ObjectiveChecks):
    objective = MACER
    options = {"k": 3}  # noqa: RUF012


def test_the_robustness_begins_when_it_is_no_longer_deferred(monkeypatch):
    macer, (x, y) = TestMACER.build(deferred=2), batch()
    parts = {}
    for epoch in (1, 2):
        monkeypatch.setattr(type(macer), "current_epoch", epoch)
        torch.manual_seed(0)
        parts[epoch] = {key: float(value) for key, value in macer.loss(x, y)[0].items()}
    assert parts[1]["robustness"] == 0
    assert parts[2]["robustness"] > 0
    assert parts[1]["classification"] == parts[2]["classification"]


def test_rows_that_the_copies_do_not_divide():
    u, y = torch.zeros(7, 4), torch.zeros(3, dtype=torch.int64)
    with pytest.raises(ValueError, match="2 copies of every image make a multiple of 2 rows, got 7"):
        macer_loss(u, y, k=2, sigma=0.5, lbd=1.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"k": 0}, "k must be an integer of at least 1, got 0"),
        ({"lbd": -0.1}, "lbd must be at least 0"),
        ({"beta": 0.0}, "beta must be positive and finite, got 0.0"),
        ({"gamma": -8.0}, "gamma must be positive and finite, got -8.0"),
        ({"deferred": -1}, "deferred must be an integer of at least 0, got -1"),
    ],
)
def test_bad_input(change, message):
    with pytest.raises(ValueError, match=message):
        MACER(**ARGUMENTS, **change)
