import numpy as np
import pytest
import torch

from lightning_rs.models import build_base_classifier
from lightning_rs.objectives import Gaussian, gaussian_loss

ARGUMENTS = {"architecture": "digits_cnn", "num_classes": 10, "input_shape": [1, 8, 8], "mean": [0.3], "std": [0.4]}


def test_loss_equals_the_formula():
    generator = np.random.default_rng(0)
    weights, x, noise = generator.normal(size=(6, 4)), generator.normal(size=(5, 6)), generator.normal(size=(5, 6))
    y = np.array([0, 3, 1, 1, 2])
    logits = (x + noise) @ weights
    expected = np.mean([np.log(np.exp(row - row[t]).sum()) for row, t in zip(logits, y, strict=True)])
    tensors = [torch.from_numpy(a) for a in (x, y, noise)]
    loss, scores = gaussian_loss(lambda v: v @ torch.from_numpy(weights), *tensors)
    assert float(loss) == pytest.approx(expected, rel=1e-12)
    assert np.allclose(scores.numpy(), logits, rtol=1e-12)


def test_noise_has_sigma_is_not_clamped_and_precedes_normalisation():
    torch.manual_seed(0)
    module = Gaussian(**ARGUMENTS, sigma=0.5)
    seen = []
    module.base_classifier.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    x = torch.full((400, 1, 8, 8), 0.25)
    module.loss(x, torch.zeros(400, dtype=torch.int64))
    noise = seen[0] - x
    assert float(noise.std()) == pytest.approx(0.5, rel=0.02)
    assert abs(float(noise.mean())) < 0.02
    assert float(seen[0].min()) < -1.0
    assert float(seen[0].max()) > 1.5
    assert type(module.base_classifier[0]).__name__ == "Normalize"


def test_base_classifier_is_the_registrys():
    torch.manual_seed(0)
    module = Gaussian(**ARGUMENTS)
    torch.manual_seed(0)
    same = build_base_classifier(*ARGUMENTS.values())
    x = torch.rand(3, 1, 8, 8)
    assert torch.equal(module(x), same(x))


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_optimizers_without_schedule(optimizer):
    configured = Gaussian(**ARGUMENTS, optimizer=optimizer, lr=0.02, schedule="constant").configure_optimizers()
    assert set(configured) == {"optimizer"}
    assert configured["optimizer"].defaults["lr"] == 0.02


def test_step_schedule_decays_on_time():
    configured = Gaussian(**ARGUMENTS, lr=1.0, schedule="step", step_size=2).configure_optimizers()
    scheduler = configured["lr_scheduler"]["scheduler"]
    rates = []
    for _ in range(5):
        rates.append(scheduler.get_last_lr()[0])
        configured["optimizer"].step()
        scheduler.step()
    assert rates == pytest.approx([1, 1, 0.1, 0.1, 0.01])
    assert configured["lr_scheduler"]["interval"] == "epoch"


def test_pixels_outside_the_range_are_refused():
    module = Gaussian(**ARGUMENTS)
    batch = torch.rand(4, 1, 8, 8) * 255, torch.zeros(4, dtype=torch.int64)
    with pytest.raises(ValueError, match=r"pixels must lie in \[0, 1\]"):
        module.training_step(batch, 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sigma": 0}, "sigma must be positive and finite, got 0"),
        ({"sigma": -0.5}, "sigma must be positive and finite, got -0.5"),
        ({"lr": 0.0}, "lr must be positive and finite, got 0.0"),
        ({"architecture": "none"}, "unknown model 'none'"),
    ],
)
def test_bad_input(change, message):
    with pytest.raises(ValueError, match=message):
        Gaussian(**(ARGUMENTS | change))
