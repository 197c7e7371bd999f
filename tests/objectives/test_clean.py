import pytest
import torch
from objective_checks import ARGUMENTS, ObjectiveChecks, batch
from torch.nn import functional as F

from lightning_rs.objectives import Clean


class TestClean(ObjectiveChecks):
    objective = Clean


def test_it_learns_from_the_images_as_they_are_and_is_measured_under_noise():
    torch.manual_seed(0)
    module, (x, y) = Clean(**ARGUMENTS, sigma=0.5), batch()
    classifier, norm = module.base_classifier, torch.nn.BatchNorm2d(1)
    module.base_classifier = torch.nn.Sequential(norm, classifier)
    parts, logits = module.loss(x, y)
    expected = F.cross_entropy(classifier(F.batch_norm(x, None, None, training=True)), y)
    assert parts["cross_entropy"].item() == pytest.approx(expected.item(), rel=1e-5)
    assert torch.allclose(norm.running_mean, 0.1 * x.mean(), rtol=1e-5)  # Of the images alone, once.
    assert not torch.allclose(logits, module(x), atol=1e-2)
    assert not logits.requires_grad
