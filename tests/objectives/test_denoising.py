import pytest
import reference_losses as reference
import torch
from loss_checks import LossChecks
from objective_checks import ObjectiveChecks

from lightning_rs.objectives import Denoising, denoising_loss


class TestDenoisingLoss(LossChecks):
    """Of estimates that lie anywhere, and images of zeros and ones."""

    @staticmethod
    def loss(u, y):
        return denoising_loss(u, torch.eye(u.shape[2])[y].repeat(len(u), 1, 1))

    formula = staticmethod(reference.denoising)


class TestDenoising(ObjectiveChecks):
    objective = Denoising
    options = {"stages": ["denoiser:net=dncnn,depth=3,width=8", "normalize", "net"]}  # noqa: RUF012
    frozen = ("normalize", "net")


def test_the_loss_is_that_of_the_estimate_from_the_noisy_image():
    module, x = TestDenoising.build(), torch.full((1, 1, 8, 8), 0.5)
    module.noise = lambda x: torch.full_like(x, 0.25)
    module.denoiser.forward = lambda noisy: noisy / 3  # .75 becomes .25.
    parts, logits = module.loss(x, torch.zeros(1, dtype=torch.int64))
    assert parts["squared_error"].item() == pytest.approx(0.25**2, rel=1e-6)
    assert torch.equal(logits, module.classifier(torch.full_like(x, 0.25)))


def test_what_would_compile_nothing_is_refused():
    with pytest.raises(ValueError, match=r"engine\.compile does nothing for a denoiser"):
        TestDenoising.build(engine={"compile": True})
