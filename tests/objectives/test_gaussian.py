import numpy as np
import pytest
import reference_losses as reference
import torch
from loss_checks import LossChecks
from objective_checks import ARGUMENTS, ObjectiveChecks

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
