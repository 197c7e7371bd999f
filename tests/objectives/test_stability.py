import pytest
import reference_losses as reference
from loss_checks import LossChecks
from objective_checks import ARGUMENTS, ObjectiveChecks

from lightning_rs.objectives import Stability, stability_loss


class TestStabilityLoss(LossChecks):
    @staticmethod
    def loss(u, y):
        return stability_loss(u[1 % len(u)], y, clean_logits=u[0], lbd=2.0)

    @staticmethod
    def formula(u, y):
        return reference.stability(u[0], u[1 % len(u)], y, 2.0)


class TestStability(ObjectiveChecks):
    objective = Stability


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lbd": -1.0}, "lbd must be at least 0 and finite, got -1.0"),
    ],
)
def test_bad_input(change, message):
    with pytest.raises(ValueError, match=message):
        Stability(**ARGUMENTS, **change)
