import pytest
import reference_losses as reference
import torch
from loss_checks import LossChecks
from objective_checks import ObjectiveChecks, batch
from torch.nn import functional as F

from lightning_rs.objectives import DenoisingStability, denoising_stability_loss


class TestDenoisingStabilityLoss(LossChecks):
    @staticmethod
    def loss(u, y):
        return denoising_stability_loss(u[1 % len(u)], clean_logits=u[0])

    @staticmethod
    def formula(u, y):
        return reference.denoising_stability(u[0], u[1 % len(u)])


class TestDenoisingStability(ObjectiveChecks):
    objective = DenoisingStability
    options = {"stages": ["denoiser:net=unet,depth=1,width=8", "normalize", "net"]}  # noqa: RUF012
    frozen = ("normalize", "net")


def test_targets_are_the_classifiers_answers_on_clean_images_that_no_denoiser_sees():
    module, (x, y) = TestDenoisingStability.build(), batch()
    module.noise = lambda x: torch.full_like(x, 0.25)
    module.denoiser.forward = lambda noisy: noisy - 0.5
    parts, logits = module.loss(x, y)
    expected = F.cross_entropy(module.classifier(x - 0.25), module.classifier(x).argmax(1))
    assert parts["stability"].item() == pytest.approx(expected.item(), rel=1e-6)
    assert torch.equal(logits, module.classifier(x + 0.25 - 0.5))
    assert module.loss(x, (y + 1) % 10)[0]["stability"].item() == parts["stability"].item()
