"""How a training is computed changes neither what it learns nor what its checkpoints are."""

import pytest
import torch
from objective_checks import ARGUMENTS, OPTIONS, batch, fit
from pytorch_lightning import Trainer
from torch.utils.data import DataLoader, TensorDataset

from lightning_rs.checkpoints import load_checkpoint
from lightning_rs.models import build_base_classifier
from lightning_rs.objectives import CATRS, Consistency, Engine, Gaussian, SmoothAdv, SmoothMix, Stability

LAST = torch.channels_last
COLOUR = {"num_classes": 10, "mean": [0.5] * 3, "std": [0.2] * 3, "architecture": "cifar_resnet20"} | {
    "input_shape": [3, 32, 32]
}


def begin(module):
    """What a trainer does before the first step."""
    module.trainer = Trainer(enable_checkpointing=False, **OPTIONS)
    module.setup("fit")


def test_by_default_nothing_is_changed():
    module = Gaussian(**ARGUMENTS)
    assert module.hparams["engine"] == {"channels_last": False, "compile": False}
    x, _ = batch()
    assert module.engine.lay_out(x) is x
    before = {name: weight.stride() for name, weight in module.named_parameters()}
    begin(module)
    assert {name: weight.stride() for name, weight in module.named_parameters()} == before


@pytest.mark.parametrize("engine", [{"compile": 1}, {"channels_last": "false"}, {"fast": True}])
def test_what_is_no_setting_is_refused(engine):
    with pytest.raises(ValueError, match="must be true or false|engine must have the fields channels_last, compile"):
        Gaussian(**ARGUMENTS, engine=engine)


@pytest.mark.parametrize(
    ("objective", "options"),
    [
        (Gaussian, {}),
        (Stability, {}),
        (Consistency, {"m": 2}),
        (SmoothAdv, {"m": 2, "steps": 2}),
        (CATRS, {"m": 2, "steps": 2}),
        (SmoothMix, {"m": 2, "steps": 2}),
    ],
)
def test_every_pass_and_gradient_is_channels_last_and_the_loss_that_of_plain_order(objective, options):
    def step(**engine):
        torch.manual_seed(0)
        module = objective(**COLOUR, sigma=0.25, engine=Engine(**engine), **options)
        begin(module)
        seen = []
        module.base_classifier.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach()))
        x = module.engine.lay_out(torch.rand(4, 3, 32, 32))
        # The same noise in both orders.
        draws = torch.randn(options.get("m", 1) * 4, 3, 32, 32)
        module.noise = lambda x, copies=1, generator=None: 0.25 * (
            draws.contiguous(memory_format=LAST) if engine else draws
        )
        parts, _ = module.loss(x, torch.arange(4))
        sum(parts.values()).backward()
        return module, seen, {name: part.item() for name, part in parts.items()}

    (module, seen, parts), (_, _, expected) = step(channels_last=True), step()
    assert parts == pytest.approx(expected, rel=1e-3, abs=1e-5)
    assert seen and all(rows.is_contiguous(memory_format=LAST) for rows in seen)
    kernels = [weight for weight in module.parameters() if weight.dim() == 4 and weight.shape[-1] > 1]
    assert kernels and all(w.is_contiguous(memory_format=LAST) for w in kernels)
    assert all(w.grad.is_contiguous(memory_format=LAST) for w in kernels)


def test_a_checkpoint_of_either_order_is_an_ordinary_one(tmp_path):
    whole = fit("Gaussian", tmp_path / "whole", epochs=1, engine=Engine(channels_last=True))
    assert all(value.is_contiguous() for value in whole["state_dict"].values())
    assert list(whole["state_dict"]) == list(Gaussian(**ARGUMENTS).state_dict())
    classifier = load_checkpoint(tmp_path / "whole" / "last.ckpt").base_classifier
    plain = build_base_classifier(*ARGUMENTS.values()).eval()
    names = {name: whole["state_dict"][f"base_classifier.{name}"] for name in plain.state_dict()}
    plain.load_state_dict(names)
    assert torch.equal(classifier(batch()[0]), plain(batch()[0]))


def test_after_the_training_the_weights_lie_as_in_a_loaded_classifier():
    module = Gaussian(**COLOUR, engine=Engine(channels_last=True))
    names = list(module.state_dict())
    begin(module)
    assert not all(weight.is_contiguous() for weight in module.parameters())
    module.teardown("fit")
    assert all(weight.is_contiguous() for weight in module.parameters())
    assert list(module.state_dict()) == names


def test_a_compiled_training_takes_the_same_step_under_the_same_names():
    def step(engine):
        torch.manual_seed(0)
        module = Gaussian(**ARGUMENTS, sigma=0.5, engine=engine)
        begin(module)
        x, y = batch()
        parts, _ = module.loss(x, y)
        parts["cross_entropy"].backward()
        return module, parts["cross_entropy"].item(), [weight.grad for weight in module.parameters()]

    torch.compiler.reset()
    graphs = torch._dynamo.utils.counters["stats"]
    graphs.clear()  # A reset keeps the counts of whatever was compiled in this process before.
    with torch.compiler.set_stance(force_backend="eager"):  # Traced as ever; to generate code would take a minute.
        plain, expected, others = step(Engine())
        assert not graphs["unique_graphs"]
        module, loss, gradients = step(Engine(compile=True))
        assert graphs["unique_graphs"] == 1
        loader = DataLoader(TensorDataset(torch.rand(6, 1, 8, 8), torch.zeros(6, dtype=torch.int64)), batch_size=4)
        module.trainer.validate(module, loader, verbose=False)
        assert graphs["unique_graphs"] == 1  # Validation, whose batches have other sizes, compiles nothing.
    assert loss == pytest.approx(expected, rel=1e-5)
    assert all(torch.allclose(a, b, rtol=1e-3, atol=1e-6) for a, b in zip(gradients, others, strict=True))
    assert list(module.state_dict()) == list(plain.state_dict())
