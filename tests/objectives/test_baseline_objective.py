"""What objectives with a baseline share: it is asked, and otherwise no part of the module."""

import copy

import pytest
import torch
from objective_checks import ARGUMENTS, OPTIONS, batch
from pytorch_lightning import Trainer
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel

from lightning_rs.models import build_base_classifier
from lightning_rs.objectives import BaselineObjective, Engine

COLOUR = ARGUMENTS | {"architecture": "cifar_resnet20", "input_shape": [3, 32, 32], "mean": [0.5] * 3, "std": [0.2] * 3}


class Distillation(BaselineObjective):
    """An objective that no other file knows."""

    def loss(self, x, y):
        noisy = x + self.noise(x)
        logits = self(noisy)
        return {"distance": F.mse_loss(logits, self.baseline_logits(noisy))}, logits


def build(arguments=ARGUMENTS, **change):
    torch.manual_seed(0)
    module = Distillation(**arguments, sigma=0.5, **change)
    module.take_baseline(build_base_classifier(*arguments.values()))
    return module


def begin(module):
    """What a trainer does before the first step."""
    module.trainer = Trainer(enable_checkpointing=False, **OPTIONS)
    module.setup("fit")
    return module


def test_the_baseline_is_no_part_of_what_is_trained_or_saved_but_goes_where_it_goes():
    module, plain = build(), Distillation(**ARGUMENTS)
    assert list(module.state_dict()) == list(plain.state_dict())
    assert [name for name, _ in module.named_parameters()] == [name for name, _ in plain.named_parameters()]
    assert len(module.parameter_groups()[0]["params"]) == len(plain.parameter_groups()[0]["params"])
    assert not any(weight.requires_grad for weight in module.baseline.parameters())
    module.double().train()
    assert all(weight.dtype == torch.float64 for weight in module.baseline.parameters())
    assert not any(part.training for part in module.baseline.modules())


def test_the_loss_sees_its_logits_without_gradient():
    module, (x, y) = begin(build()), batch()
    expected = module.baseline(x)
    logits = module.baseline_logits(x)
    assert torch.equal(logits, expected) and expected.grad_fn is None and not torch.equal(logits, module(x))
    module.loss(x, y)[0]["distance"].backward()
    assert all(weight.grad is None for weight in module.baseline.parameters())
    assert all(weight.grad is not None for weight in module.base_classifier.parameters())


def test_copies_as_an_average_of_the_weights_share_it():
    module = build()
    assert copy.deepcopy(module).baseline is module.baseline
    average = AveragedModel(module).module
    assert average.baseline is module.baseline and average.base_classifier is not module.base_classifier


def test_its_weights_and_images_lie_as_the_classifiers_do_and_plainly_again_afterwards():
    module = begin(build(COLOUR, engine=Engine(channels_last=True)))
    kernels = [weight for weight in module.baseline.parameters() if weight.dim() == 4 and weight.shape[-1] > 1]
    last = {"memory_format": torch.channels_last}
    assert kernels and all(weight.is_contiguous(**last) for weight in kernels)
    seen = []
    module.baseline.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].is_contiguous(**last)))
    module.loss(module.engine.lay_out(torch.rand(2, 3, 32, 32)), torch.arange(2))
    assert seen == [True]
    module.teardown("fit")
    assert all(weight.is_contiguous() for weight in module.baseline.parameters())


def test_its_passes_are_compiled_beside_those_of_the_classifier():
    torch.compiler.reset()
    graphs = torch._dynamo.utils.counters["stats"]
    graphs.clear()
    with torch.compiler.set_stance(force_backend="eager"):
        module, (x, y) = begin(build(engine=Engine(compile=True))), batch()
        assert torch.allclose(module.baseline_logits(x), module.baseline(x))
        assert graphs["unique_graphs"] == 1
        module.loss(x, y)
        assert graphs["unique_graphs"] == 2
        module.teardown("fit")
        module.baseline_logits(x[:3])  # Of another size: it would be compiled again.
    assert graphs["unique_graphs"] == 2


def test_one_that_was_named_or_is_needed_and_was_not_given_is_missed():
    with pytest.raises(ValueError, match="^the baseline was not loaded: give its base classifier"):
        Distillation(**ARGUMENTS).setup("fit")
    with pytest.raises(ValueError, match="the baseline theirs.ckpt was not loaded: give its base classifier"):
        Distillation(**ARGUMENTS, baseline="theirs.ckpt").setup("fit")
