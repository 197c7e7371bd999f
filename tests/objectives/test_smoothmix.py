import numpy as np
import pytest
import reference_losses as reference
import torch
from loss_checks import LossChecks
from objective_checks import ARGUMENTS, ObjectiveChecks, distances_of_the_images_that_the_loss_sees

from lightning_rs.objectives import SmoothMix, smoothmix_loss

SHARE = np.array([0.0, 0.5, 0.1, 0.25, 0.4])


class TestSmoothMixLoss(LossChecks):
    @staticmethod
    def loss(u, y):
        mixed = 0.5 * u.flip(0, 2).flatten(0, 1)
        return smoothmix_loss(u.flatten(0, 1), y, mixed_logits=mixed, share=torch.from_numpy(SHARE), m=len(u), eta=5.0)

    @staticmethod
    def formula(u, y):
        return reference.smoothmix(u, u[::-1, :, ::-1] * 0.5, y, SHARE, 5.0)


class TestSmoothMix(ObjectiveChecks):
    objective = SmoothMix
    options = {"m": 3, "steps": 3, "mix_step": 1}  # noqa: RUF012


def test_attacked_images_and_their_noise_are_what_the_loss_sees():
    distances_of_the_images_that_the_loss_sees(TestSmoothMix.build(warmup=1), 2)


def test_rows_that_the_copies_do_not_divide():
    u, y = torch.zeros(7, 4), torch.zeros(3, dtype=torch.int64)
    with pytest.raises(ValueError, match="2 copies of every image make a multiple of 2 rows, got 7"):
        smoothmix_loss(u, y, mixed_logits=u, share=torch.zeros(3), m=2, eta=1.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"alpha": -1.0}, "alpha must be positive and finite, got -1.0"),
        ({"steps": 4, "mix_step": 4}, r"mix_step must lie in \[0, 3\], below steps, got 4"),
        ({"eta": -1.0}, "eta must be at least 0"),
    ],
)
def test_bad_input(change, message):
    with pytest.raises(ValueError, match=message):
        SmoothMix(**ARGUMENTS, **change)
