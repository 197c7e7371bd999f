"""What holds for every objective: arguments, precision, batch norms, and that a step lowers its loss."""

import pytest
import torch
from loss_cases import ARGUMENTS

from lightning_rs import objectives
from lightning_rs.objectives import MACER, Consistency, Gaussian, SmoothAdv, SmoothingModule, SmoothMix, Stability

MODULES = {
    "Gaussian": (Gaussian, {}),
    "Stability": (Stability, {}),
    "MACER": (MACER, {"k": 3}),
    "Consistency": (Consistency, {"m": 3}),
    "SmoothAdv": (SmoothAdv, {"m": 3, "steps": 2}),
    "SmoothAdv with DDN": (SmoothAdv, {"m": 3, "steps": 2, "attack": "ddn"}),
    "SmoothAdv with Consistency": (SmoothAdv, {"m": 3, "steps": 2, "lbd": 2.0, "eta": 0.5}),
    "SmoothMix": (SmoothMix, {"m": 3, "steps": 3, "mix_step": 1}),
}


def build(name, **change):
    torch.manual_seed(0)
    cls, options = MODULES[name]
    return cls(**ARGUMENTS, sigma=0.5, **options, **change)


def batch(rows=8):
    generator = torch.Generator().manual_seed(0)
    return torch.rand(rows, 1, 8, 8, generator=generator), torch.randint(10, (rows,), generator=generator)


def test_every_objective_is_tested_here():
    classes = {value for value in vars(objectives).values() if isinstance(value, type)} - {SmoothingModule}
    assert classes == {cls for cls, _ in MODULES.values()}


@pytest.mark.parametrize("name", MODULES)
def test_loss_gives_scalar_parts_logits_of_all_copies_and_gradients_of_all_weights(name):
    module, (x, y) = build(name), batch()
    parts, logits = module.loss(x, y)
    assert logits.shape == (8 * MODULES[name][1].get("m", MODULES[name][1].get("k", 1)), 10)
    assert all(part.shape == () and part.requires_grad for part in parts.values())
    sum(parts.values()).backward()
    assert all(torch.isfinite(p.grad).all() and p.grad.abs().sum() > 0 for p in module.parameters())
    assert all(m.training for m in module.modules())


@pytest.mark.parametrize("name", MODULES)
def test_mixed_precision_gives_losses_in_float32_near_those_in_full(name):
    module, (x, y) = build(name), batch()
    torch.manual_seed(1)
    full, _ = module.loss(x, y)
    torch.manual_seed(1)
    with torch.autocast("cpu", torch.bfloat16):
        mixed, logits = module.loss(x, y)
    assert logits.dtype == torch.bfloat16
    for part, value in mixed.items():
        assert value.dtype == torch.float32
        assert value.item() == pytest.approx(full[part].item(), rel=0.1, abs=0.02)
    sum(mixed.values()).backward()
    assert all(torch.isfinite(p.grad).all() for p in module.parameters())


@pytest.mark.parametrize("name", MODULES)
def test_training_on_one_batch_lowers_the_loss(name):
    module, (x, y) = build(name), batch()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.02, momentum=0.9)

    def loss():
        torch.manual_seed(1)
        return sum(module.loss(x, y)[0].values())

    first = loss()
    for _ in range(20):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
    assert loss().item() < 0.9 * first.item()


@pytest.mark.parametrize("name", ["SmoothAdv", "SmoothMix"])
def test_attacked_images_and_their_noise_are_what_the_loss_sees(name):
    """The last forward passes run on attacked image + the very noise of the attack, in training mode."""
    module, (x, y) = build(name, warmup=1), batch()
    seen = []
    module.base_classifier.register_forward_pre_hook(
        lambda net, inputs: seen.append((net.training, inputs[0].detach()))
    )
    module.loss(x, y)
    steps = module.steps
    assert [training for training, _ in seen] == [False] * steps + [True] * (1 if name == "SmoothAdv" else 2)
    noise = seen[0][1] - x.repeat(3, 1, 1, 1)  # The first step starts at the images.
    assert float(noise.std()) == pytest.approx(0.5, rel=0.05)
    for _, rows in seen[1:]:
        images = (rows - noise).view(3, 8, 1, 8, 8)
        assert torch.allclose(images[0], images[1], atol=1e-6)
        assert torch.allclose(images[0], images[2], atol=1e-6)
        assert images.min() >= -1e-6
        assert images.max() <= 1 + 1e-6
    distance = (images[0] - x).flatten(1).norm(dim=1)
    assert (distance > 0.05).all()
    if name == "SmoothAdv":
        assert (distance <= module.epsilon * (1 + 1e-5)).all()


def test_warm_ups_follow_the_epoch(monkeypatch):
    module, (x, y) = build("SmoothAdv", warmup=4), batch()
    distances = []
    for epoch in (0, 1, 3, 9):
        monkeypatch.setattr(type(module), "current_epoch", epoch)
        radii = []
        module.attack = lambda f, x, y, noise, epsilon, steps, radii=radii: radii.append(epsilon) or x
        module.loss(x, y)
        distances += radii
    assert distances == [0.25, 0.5, 1.0, 1.0]
    macer = build("MACER", deferred=2)
    parts = {}
    for epoch in (1, 2):
        monkeypatch.setattr(type(macer), "current_epoch", epoch)
        torch.manual_seed(0)
        parts[epoch] = {key: float(value) for key, value in macer.loss(x, y)[0].items()}
    assert parts[1]["robustness"] == 0
    assert parts[2]["robustness"] > 0
    assert parts[1]["classification"] == parts[2]["classification"]


@pytest.mark.parametrize(
    ("cls", "change", "message"),
    [
        (Stability, {"lbd": -1.0}, "lbd must be at least 0 and finite, got -1.0"),
        (MACER, {"k": 0}, "k must be an integer of at least 1, got 0"),
        (MACER, {"lbd": -0.1}, "lbd must be at least 0"),
        (MACER, {"beta": 0.0}, "beta must be positive and finite, got 0.0"),
        (MACER, {"margin": -8.0}, "margin must be positive and finite, got -8.0"),
        (MACER, {"deferred": -1}, "deferred must be an integer of at least 0, got -1"),
        (Consistency, {"m": 0}, "m must be an integer of at least 1, got 0"),
        (Consistency, {"lbd": -2.0}, "lbd must be at least 0"),
        (Consistency, {"eta": float("nan")}, "eta must be at least 0 and finite, got nan"),
        (SmoothAdv, {"m": -1}, "m must be an integer of at least 1, got -1"),
        (SmoothAdv, {"epsilon": 0.0}, "epsilon must be positive and finite, got 0.0"),
        (SmoothAdv, {"steps": 0}, "steps must be an integer of at least 1, got 0"),
        (SmoothAdv, {"warmup": 0}, "warmup must be an integer of at least 1, got 0"),
        (SmoothAdv, {"attack": "fgsm"}, "unknown attack 'fgsm'; known: ddn, pgd"),
        (SmoothMix, {"alpha": -1.0}, "alpha must be positive and finite, got -1.0"),
        (SmoothMix, {"steps": 4, "mix_step": 4}, r"mix_step must lie in \[0, 3\], below steps, got 4"),
        (SmoothMix, {"eta": -1.0}, "eta must be at least 0"),
        (Gaussian, {"lr_warmup": -1}, "lr_warmup must be an integer of at least 0, got -1"),
    ],
)
def test_bad_input(cls, change, message):
    with pytest.raises(ValueError, match=message):
        cls(**ARGUMENTS, **change)


def test_an_objective_without_a_loss_cannot_be_built():
    class Nothing(SmoothingModule):
        pass

    with pytest.raises(TypeError, match="abstract"):
        Nothing(**ARGUMENTS)
