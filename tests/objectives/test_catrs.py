import copy

import numpy as np
import pytest
import reference_losses as reference
import torch
from loss_checks import LossChecks
from objective_checks import ARGUMENTS, ObjectiveChecks, batch
from scipy import stats
from torch.nn import functional as F

from lightning_rs.models import build_base_classifier
from lightning_rs.objectives import CATRS, catrs_loss
from lightning_rs.objectives.catrs import attacked_noise, draw_kept

GENERATOR = np.random.default_rng(0)
KEPT = np.array([1, 3, 2, 3, 3])
TARGET = GENERATOR.dirichlet(np.ones(4), size=5)
TARGET[1] = [0.0, 0.25, 0.75, 0.0]  # Votes leave classes out.


def kept_of(copies):
    return np.minimum(KEPT, copies)


class TestCATRSLoss(LossChecks):
    @staticmethod
    def loss(u, y):
        m, attacked = len(u), 0.5 * u.flip(0, 2).flatten(0, 1)
        settings = {"target": torch.from_numpy(TARGET), "kept": torch.from_numpy(kept_of(m)), "m": m, "lbd": 0.7}
        return catrs_loss(u.flatten(0, 1), y, attacked_logits=attacked, **settings)

    @staticmethod
    def formula(u, y):
        return reference.catrs(u, u[::-1, :, ::-1] * 0.5, y, TARGET, kept_of(len(u)), 0.7)


class TestCATRS(ObjectiveChecks):
    objective = CATRS
    options = {"m": 3, "steps": 2}  # noqa: RUF012


def baseline():
    """One that has learnt the labels of `batch`: as those of another would, its targets fight the labels."""
    torch.manual_seed(7)
    net, (x, y) = build_base_classifier(*ARGUMENTS.values()), batch()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.9)
    for _ in range(15):
        optimizer.zero_grad()
        F.cross_entropy(net(x), y).backward()
        optimizer.step()
    return net


class TestCATRSWithABaseline(ObjectiveChecks):
    objective = CATRS
    options = {"m": 3, "steps": 2}  # noqa: RUF012

    @classmethod
    def build(cls, **change):
        module = super().build(**change)
        module.take_baseline(baseline())
        return module


@pytest.mark.parametrize("right", [0, 1, 2, 3])
def test_the_number_that_counts_is_binomial_and_at_least_one(right):
    """Of 4 copies of 40,000 images; a share is off by more than .015 less than once in 1e8 times."""
    rows, m = 40_000, 4
    wins = torch.arange(m)[:, None].expand(m, rows) < right
    logits = torch.stack([wins, ~wins], dim=2).float().flatten(0, 1)
    torch.manual_seed(0)
    kept = draw_kept(logits, torch.zeros(rows, dtype=torch.int64), m)
    expected = stats.binom.pmf(np.arange(m + 1), m, right / m)
    expected[:2] = 0, expected[:2].sum()
    assert np.abs(np.bincount(kept, minlength=m + 1) / rows - expected).max() < 0.015


def test_all_count_where_all_are_right():
    assert torch.equal(draw_kept(torch.eye(3).repeat(4, 1), torch.arange(3), 4), torch.full((3,), 4))


def test_the_worst_noise_counts_where_all_copies_do_and_no_gradient_comes_from_the_others():
    torch.manual_seed(0)
    attacked = torch.randn(15, 4, requires_grad=True)
    target, kept = torch.from_numpy(TARGET).float(), torch.from_numpy(KEPT)
    settings = {"attacked_logits": attacked, "target": target, "kept": kept, "m": 3, "lbd": 1.0}
    catrs_loss(torch.randn(15, 4), torch.arange(5) % 4, **settings)["worst_case"].backward()
    seen = attacked.grad.view(3, 5, 4).abs().sum(dim=2) > 0
    assert (seen.sum(dim=0) == (kept == 3)).all()


WEIGHTS = GENERATOR.normal(size=(6, 4))
X = GENERATOR.uniform(size=(5, 6))
NOISE = 0.3 * GENERATOR.normal(size=(3, 5, 6))


def linear(x):
    return x @ torch.from_numpy(WEIGHTS)


def softmax(logits):
    p = np.exp(logits - logits.max())
    return p / p.sum()


def attack(epsilon, steps):
    noise = torch.from_numpy(NOISE).flatten(0, 1)
    return attacked_noise(linear, torch.from_numpy(X), torch.from_numpy(TARGET), noise, epsilon, steps).numpy()


@pytest.mark.parametrize("steps", [1, 4])
def test_the_attack_equals_the_algorithm_copy_by_copy(steps):
    """The gradient of KL(t || softmax(W x)) by x is W (softmax(W x) - t)."""
    epsilon, attacked = 0.5, attack(0.5, steps).reshape(NOISE.shape)
    for i, b in np.ndindex(3, 5):
        first = now = NOISE[i, b]
        for _ in range(steps):
            gradient = WEIGHTS @ (softmax((X[b] + now) @ WEIGHTS) - TARGET[b])
            now = now + 2 * epsilon / steps * gradient / np.linalg.norm(gradient)
            now = first + (now - first) * min(1, epsilon / np.linalg.norm(now - first))
            rms, own = np.sqrt(np.mean(first**2)), np.sqrt(np.mean(now**2))
            now = np.mean(first) + rms * (now - np.mean(now)) / own
        assert np.allclose(attacked[i, b], now, atol=1e-6)  # torch.renorm divides by the norm + 1e-7


def test_the_attack_ascends_and_keeps_radius_mean_and_root_mean_square():
    torch.manual_seed(0)
    net, (x, _) = baseline().eval(), batch()
    noise, target = 0.5 * torch.randn(24, 1, 8, 8), (0.9 * torch.eye(10) + 0.01)[batch()[1]]

    def divergence(noise):
        return F.cross_entropy(net(x.repeat(3, 1, 1, 1) + noise), target.repeat(3, 1), reduction="none")

    attacked = attacked_noise(net, x, target, noise, 0.5, 4)
    assert not attacked.requires_grad
    assert (divergence(attacked) > divergence(noise)).all()
    assert ((attacked - noise).flatten(1).norm(dim=1) < 0.55).all()
    assert torch.allclose(attacked.mean((1, 2, 3)), noise.mean((1, 2, 3)), atol=1e-6)
    rms = [draws.square().mean((1, 2, 3)).sqrt() for draws in (attacked, noise)]
    assert torch.allclose(*rms, rtol=0.05)
    assert (x + attacked[:8]).min() < 0 and (x + attacked[:8]).max() > 1


def test_every_pass_of_a_step_is_of_the_same_images_under_noise():
    """In evaluation mode where the noise is attacked; the target is asked for under the noise itself."""
    module, (x, y) = TestCATRSWithABaseline.build(), batch()
    seen, asked = [], []
    module.base_classifier.register_forward_pre_hook(lambda net, inputs: seen.append((net.training, inputs[0])))
    module.baseline.register_forward_hook(lambda net, inputs, logits: asked.append((inputs[0], logits)))
    statistics = {key: value.clone() for key, value in module.baseline.state_dict().items()}
    module.loss(x, y)
    assert [training for training, _ in seen] == [True, False, False, True]
    ((noisy, logits),) = asked
    assert torch.equal(noisy, seen[0][1]) and torch.equal(noisy, seen[1][1]) and not logits.requires_grad
    distance = (seen[-1][1] - noisy).flatten(1).norm(dim=1)
    assert ((distance > 0.05) & (distance < 1.1)).all()
    assert all(torch.equal(value, statistics[key]) for key, value in module.baseline.state_dict().items())


def test_the_target_is_the_mean_prediction_of_the_baseline_or_of_the_classifier_itself(monkeypatch):
    taken = []
    monkeypatch.setattr(
        "lightning_rs.objectives.catrs.catrs_loss", lambda *_, target, **__: taken.append(target) or {}
    )
    x, y = batch()
    for module in (TestCATRS.build(), TestCATRSWithABaseline.build()):
        module.noise = lambda x, copies: torch.zeros_like(x.repeat(copies, 1, 1, 1)).add_(
            torch.arange(copies).repeat_interleave(len(x)).view(-1, 1, 1, 1) / 10
        )
        net = copy.deepcopy(module.baseline or module.base_classifier)
        _, logits = module.loss(x, y)
        expected = torch.stack([net(x + i / 10) for i in range(3)]) if module.baseline else logits.view(3, 8, 10)
        assert torch.allclose(taken[-1], expected.softmax(dim=2).mean(dim=0), atol=1e-6)
        assert not taken[-1].requires_grad
    assert not torch.allclose(*taken, atol=1e-2)


def test_the_weight_of_the_worst_case_grows_during_the_warm_up(monkeypatch):
    monkeypatch.setattr("lightning_rs.objectives.catrs.draw_kept", lambda logits, y, m: torch.full_like(y, m))
    worst = []
    for warmup in (1, 4):  # Without a trainer the epoch is the first.
        module = TestCATRS.build(warmup=warmup)
        torch.manual_seed(0)
        worst.append(module.loss(*batch())[0]["worst_case"])
    assert worst[0] > 0 and torch.allclose(worst[0], 4 * worst[1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"m": 0}, "m must be an integer of at least 1, got 0"),
        ({"epsilon": 0.0}, "epsilon must be positive and finite, got 0.0"),
        ({"steps": 0}, "steps must be an integer of at least 1, got 0"),
        ({"lbd": -1.0}, "lbd must be at least 0"),
        ({"warmup": 0}, "warmup must be an integer of at least 1, got 0"),
    ],
)
def test_bad_input(change, message):
    with pytest.raises(ValueError, match=message):
        CATRS(**ARGUMENTS, **change)
