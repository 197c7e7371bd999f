import numpy as np
import pytest
import torch

from lightning_rs.models import build_base_classifier
from lightning_rs.objectives.attacks import ascent, ddn, pgd, project
from lightning_rs.smoothing.sampler import evaluating

GENERATOR = np.random.default_rng(0)
WEIGHTS = GENERATOR.normal(size=(6, 4))
X = GENERATOR.uniform(0.2, 0.8, size=(5, 6))
NOISE = 0.3 * GENERATOR.normal(size=(3, 5, 6))
Y = np.array([0, 3, 1, 1, 2])


def classifier(x):
    return x @ torch.from_numpy(WEIGHTS)


def tensors():
    return torch.from_numpy(X), torch.from_numpy(Y), torch.from_numpy(NOISE.reshape(15, 6))


def smoothed(x):
    """Mean softmax (rows, classes) over the noise, and the gradient of -log of the labels' by hand."""
    logits = (x + NOISE) @ WEIGHTS
    p = np.exp(logits - logits.max(axis=2, keepdims=True))
    p /= p.sum(axis=2, keepdims=True)
    mean = p.mean(axis=0)
    rows = np.arange(len(Y))
    own = p[:, rows, Y]
    # d mean_y / d x = mean_i p_y (w_y - sum_c p_c w_c)
    slope = own[..., None] * (WEIGHTS.T[Y] - p @ WEIGHTS.T)
    return mean, -slope.mean(axis=0) / mean[rows, Y][:, None]


def test_direction_is_the_normed_gradient_of_the_smoothed_classifier():
    direction, log_f = ascent(classifier, *tensors())
    mean, gradient = smoothed(X)
    assert np.allclose(log_f.numpy(), np.log(mean), rtol=1e-12)
    expected = gradient / np.linalg.norm(gradient, axis=1, keepdims=True)
    assert np.allclose(direction.numpy(), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("steps", [1, 4])
def test_pgd_equals_the_algorithm_in_numpy(steps):
    epsilon = 0.7
    x = X.copy()
    for _ in range(steps):
        gradient = smoothed(x)[1]
        x = x + 2 * epsilon / steps * gradient / np.linalg.norm(gradient, axis=1, keepdims=True)
        delta = np.clip(x, 0, 1) - X
        norm = np.linalg.norm(delta, axis=1, keepdims=True)
        x = X + delta * np.minimum(1, epsilon / norm)
    attacked = pgd(classifier, *tensors(), epsilon, steps).numpy()
    assert np.allclose(attacked, x, atol=1e-6)  # torch.renorm divides by the norm + 1e-7
    assert np.linalg.norm(attacked - X, axis=1).max() <= epsilon * (1 + 1e-9)
    assert attacked.min() >= 0
    assert attacked.max() <= 1
    rows = np.arange(len(Y))
    assert (smoothed(attacked)[0][rows, Y] < smoothed(X)[0][rows, Y]).all()


def test_ddn_equals_the_algorithm_in_numpy():
    epsilon, steps, gamma = 0.5, 8, 0.05
    worst = np.linalg.norm(np.maximum(X, 1 - X), axis=1)
    norm, least = np.full(5, epsilon), worst.copy()
    delta, best = np.zeros_like(X), np.zeros_like(X)
    for k in range(steps):
        mean, gradient = smoothed(X + delta)
        errs = mean.argmax(axis=1) != Y
        length = np.linalg.norm(delta, axis=1)
        for i in np.flatnonzero(errs & (length < least)):
            least[i], best[i] = length[i], delta[i]
        rate = 0.01 + 0.99 * (1 + np.cos(np.pi * (k + 1) / steps)) / 2
        norm = np.minimum(np.where(errs, norm * (1 - gamma), norm * (1 + gamma)), worst)
        delta = delta + rate * gradient / np.linalg.norm(gradient, axis=1, keepdims=True)
        delta = delta / np.linalg.norm(delta, axis=1, keepdims=True) * norm[:, None]
        delta = np.clip(X + delta, 0, 1) - X
    length = np.linalg.norm(best, axis=1, keepdims=True)
    expected = X + best * np.minimum(1, epsilon / np.maximum(length, 1e-12))
    assert 0 < (length > 0).sum()
    assert np.allclose(ddn(classifier, *tensors(), epsilon, steps, gamma).numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("attack", [pgd, ddn])
def test_where_the_gradient_vanishes_the_image_stays(attack):
    """Scores so extreme that the probability of the label is exactly one."""
    x = torch.full((2, 1, 2, 2), 0.5)
    flat = attack(lambda v: 1e6 * torch.eye(3)[0] + 0 * v.flatten(1)[:, :3], x, torch.zeros(2).long(), 0 * x, 1.0, 3)
    assert torch.equal(flat, x)


def test_the_least_gradients_still_have_a_direction():
    x = torch.full((1, 1, 2, 2), 0.5)
    direction, _ = ascent(lambda v: 1e-30 * v.flatten(1)[:, :3], x, torch.zeros(1).long(), 0 * x)
    assert float(direction.norm()) == pytest.approx(1.0, rel=1e-6)


@pytest.mark.parametrize("attack", [pgd, ddn])
def test_an_attack_leaves_no_gradient_statistic_or_mode_behind(attack):
    torch.manual_seed(0)
    net = build_base_classifier("cifar_resnet20", 10, [3, 32, 32], [0.5] * 3, [0.25] * 3)
    net[1].layer1.eval()  # A user's frozen stage stays frozen.
    before = {key: value.clone() for key, value in net.state_dict().items()}
    modes = [module.training for module in net.modules()]
    x, y = torch.rand(4, 3, 32, 32), torch.arange(4)
    with evaluating(net):
        attacked = attack(net, x, y, 0.25 * torch.randn(8, 3, 32, 32), 0.5, 2)
    assert not attacked.requires_grad
    assert all(p.grad is None and p.requires_grad for p in net.parameters())
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert [module.training for module in net.modules()] == modes


def test_projection():
    x = torch.tensor([[1.5, 0.5, -1.0]])
    origin = torch.tensor([[1.0, 0.5, 0.0]])
    assert torch.equal(project(x, origin), origin)
    far = project(torch.tensor([[1.0, 1.0]]), torch.zeros(1, 2), 0.5)
    assert torch.allclose(far, torch.full((1, 2), 0.5 / 2**0.5))
    assert torch.equal(project(torch.ones(1, 2), torch.zeros(1, 2), 0.0), torch.zeros(1, 2))


@pytest.mark.parametrize("attack", [pgd, ddn])
def test_bad_input(attack):
    with pytest.raises(ValueError, match="epsilon must be positive and finite, got 0"):
        attack(classifier, *tensors(), 0.0, 2)
    with pytest.raises(ValueError, match="steps must be an integer of at least 1, got 0"):
        attack(classifier, *tensors(), 1.0, 0)
