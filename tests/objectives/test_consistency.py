import pytest
import reference_losses as reference
import torch
from loss_checks import LossChecks
from objective_checks import ARGUMENTS, ObjectiveChecks

from lightning_rs.objectives import Consistency, consistency_loss


class TestConsistencyLoss(LossChecks):
    @staticmethod
    def loss(u, y):
        return consistency_loss(u.flatten(0, 1), y, m=len(u), lbd=10.0, eta=0.5)

    @staticmethod
    def formula(u, y):
        return reference.consistency(u, y, 10.0, 0.5)


class TestConsistency(ObjectiveChecks):
    objective = Consistency
    options = {"m": 3}  # noqa: RUF012


def test_rows_that_the_copies_do_not_divide():
    u, y = torch.zeros(7, 4), torch.zeros(3, dtype=torch.int64)
    with pytest.raises(ValueError, match="2 copies of every image make a multiple of 2 rows, got 7"):
        consistency_loss(u, y, m=2, lbd=1.0, eta=0.5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"m": 0}, "m must be an integer of at least 1, got 0"),
        ({"lbd": -2.0}, "lbd must be at least 0"),
        ({"eta": float("nan")}, "eta must be at least 0 and finite, got nan"),
    ],
)
def test_bad_input(change, message):
    with pytest.raises(ValueError, match=message):
        Consistency(**ARGUMENTS, **change)
