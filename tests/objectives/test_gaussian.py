import numpy as np
import pytest
import reference_losses as reference
import torch
from loss_checks import LossChecks
from objective_checks import ARGUMENTS, ObjectiveChecks, batch

from lightning_rs.objectives import Gaussian, gaussian_loss


class TestGaussianLoss(LossChecks):
    @staticmethod
    def loss(u, y):
        return gaussian_loss(u.flatten(0, 1), y, m=len(u))

    formula = staticmethod(reference.gaussian)


class TestGaussian(ObjectiveChecks):
    objective = Gaussian


def test_loss_equals_the_formula_at_the_noisy_images():
    generator = np.random.default_rng(0)
    weights, x, noise = generator.normal(size=(6, 4)), generator.normal(size=(5, 6)), generator.normal(size=(5, 6))
    y = np.array([0, 3, 1, 1, 2])
    logits = (x + noise) @ weights
    expected = np.mean([np.log(np.exp(row - row[t]).sum()) for row, t in zip(logits, y, strict=True)])
    module = Gaussian(**ARGUMENTS)
    module.base_classifier = torch.nn.Linear(6, 4, bias=False, dtype=torch.float64)
    module.base_classifier.weight.data = torch.from_numpy(weights.T)
    module.noise = lambda x: torch.from_numpy(noise)
    parts, scores = module.loss(torch.from_numpy(x), torch.from_numpy(y))
    assert list(parts) == ["cross_entropy"]
    assert float(parts["cross_entropy"]) == pytest.approx(expected, rel=1e-12)
    assert np.allclose(scores.detach().numpy(), logits, rtol=1e-12)


def test_smoothed_and_soft_labels_weigh_the_classes():
    generator = torch.Generator().manual_seed(0)
    logits, y = torch.randn(6, 4, generator=generator, dtype=torch.float64), torch.tensor([0, 3, 1])
    log_p = logits.log_softmax(1)
    hard = torch.eye(4, dtype=torch.float64)[y].repeat(2, 1)
    expected = -((0.9 * hard + 0.1 / 4) * log_p).sum(1).mean()
    (found,) = gaussian_loss(logits, y, m=2, label_smoothing=0.1).values()
    assert found.item() == pytest.approx(expected.item(), rel=1e-12)
    soft = torch.softmax(torch.randn(3, 4, generator=generator, dtype=torch.float64), 1)
    (found,) = gaussian_loss(logits, soft, m=2).values()
    assert found.item() == pytest.approx(-(soft.repeat(2, 1) * log_p).sum(1).mean().item(), rel=1e-12)


def test_mixup_mixes_images_before_the_noise_and_their_labels_by_one_share():
    module, (x, y) = Gaussian(**ARGUMENTS, mixup=0.5), batch()
    seen = []
    module.noise = torch.zeros_like
    module.base_classifier.register_forward_pre_hook(lambda net, inputs: seen.append(inputs[0]))
    torch.manual_seed(1)
    parts, logits = module.loss(x, y)
    other = x.roll(1, 0)
    torch.manual_seed(1)
    share = float(torch._sample_dirichlet(torch.tensor([[0.5, 0.5]]))[0, 0])
    assert torch.allclose(seen[0], share * x + (1 - share) * other, atol=1e-6)
    scores = logits.log_softmax(1)
    expected = share * scores[range(8), y] + (1 - share) * scores[range(8), y.roll(1)]
    assert parts["cross_entropy"].item() == pytest.approx(-expected.mean().item(), rel=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label_smoothing": 1.0}, "label_smoothing must be less than 1, got 1"),
        ({"label_smoothing": -0.1}, "label_smoothing must be at least 0 and finite, got -0.1"),
        ({"mixup": -1.0}, "mixup must be at least 0 and finite, got -1.0"),
    ],
)
def test_bad_input(change, message):
    with pytest.raises(ValueError, match=message):
        Gaussian(**ARGUMENTS, **change)
