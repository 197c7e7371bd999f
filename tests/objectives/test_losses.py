"""What the pure losses share: the papers' formulas, exact gradients, and no NaN where scores are extreme."""

import numpy as np
import pytest
import reference_losses as reference
import torch
from loss_cases import CASES

from lightning_rs.objectives import consistency_loss, macer_loss, smoothmix_loss, stability_loss

SHARE = np.array([0.0, 0.5, 0.1, 0.25, 0.4])


def mixed_of(logits):
    return logits[::-1, :, ::-1] * 0.5


# Name to (the loss of logits (copies, rows, classes) and labels, the reference of the same).
LOSSES = {
    "stability": (
        lambda u, y: stability_loss(u[0], u[1 % len(u)], y, lbd=2.0),
        lambda u, y: reference.stability(u[0], u[1 % len(u)], y, 2.0),
    ),
    "macer": (
        lambda u, y: macer_loss(u.flatten(0, 1), y, len(u), sigma=0.5, lbd=12.0, beta=16.0, gamma=8.0),
        lambda u, y: reference.macer(u, y, 0.5, 12.0, 16.0, 8.0),
    ),
    "macer at another temperature": (
        lambda u, y: macer_loss(u.flatten(0, 1), y, len(u), sigma=0.25, lbd=3.0, beta=1.0, gamma=4.0),
        lambda u, y: reference.macer(u, y, 0.25, 3.0, 1.0, 4.0),
    ),
    "consistency": (
        lambda u, y: consistency_loss(u.flatten(0, 1), y, len(u), lbd=10.0, eta=0.5),
        lambda u, y: reference.consistency(u, y, 10.0, 0.5),
    ),
    "smoothmix": (
        lambda u, y: smoothmix_loss(
            u.flatten(0, 1), 0.5 * u.flip(0, 2).flatten(0, 1), y, torch.from_numpy(SHARE), len(u), eta=5.0
        ),
        lambda u, y: reference.smoothmix(u, mixed_of(u), y, SHARE, 5.0),
    ),
}


@pytest.mark.parametrize("copies", [1, 3])
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", LOSSES)
def test_every_part_equals_the_papers_formula(name, case, copies):
    loss, formula = LOSSES[name]
    logits, y = CASES[case]
    logits = logits[:copies]
    parts = loss(torch.from_numpy(logits), torch.from_numpy(y))
    expected = formula(logits, y)
    assert list(parts) == list(expected)
    for part, value in parts.items():
        assert float(value) == pytest.approx(expected[part], rel=1e-9, abs=1e-12), part


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", LOSSES)
def test_in_single_precision_too_and_from_bfloat16_logits(name, case):
    loss, formula = LOSSES[name]
    logits, y = CASES[case]
    for dtype in (torch.float32, torch.bfloat16):
        rounded = torch.from_numpy(logits).to(dtype)
        parts = loss(rounded, torch.from_numpy(y))
        expected = formula(rounded.double().numpy(), y)
        for part, value in parts.items():
            assert value.dtype == torch.float32
            assert float(value) == pytest.approx(expected[part], rel=2e-5, abs=1e-6), (part, dtype)


@pytest.mark.parametrize("case", ["random", "nearly right", "all right", "all wrong"])
@pytest.mark.parametrize("name", LOSSES)
def test_gradient_equals_finite_differences(name, case):
    logits, y = CASES[case]
    u = torch.from_numpy(logits).requires_grad_()
    labels = torch.from_numpy(y)
    assert torch.autograd.gradcheck(lambda v: sum(LOSSES[name][0](v, labels).values()), u, eps=1e-6, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("scale", [1.0, 1e4])
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", LOSSES)
def test_gradients_are_finite_however_extreme_the_scores(name, case, scale, dtype):
    logits, y = CASES[case]
    u = (scale * torch.from_numpy(logits)).to(dtype).requires_grad_()
    sum(LOSSES[name][0](u, torch.from_numpy(y)).values()).backward()
    assert torch.isfinite(u.grad).all()


@pytest.mark.parametrize("name", ["macer", "consistency", "smoothmix"])
def test_rows_that_the_copies_do_not_divide(name):
    u, y = torch.zeros(7, 4), torch.zeros(3, dtype=torch.int64)
    calls = {
        "macer": lambda: macer_loss(u, y, 2, 0.5, 1.0),
        "consistency": lambda: consistency_loss(u, y, 2, 1.0, 0.5),
        "smoothmix": lambda: smoothmix_loss(u, u, y, torch.zeros(3), 2, 1.0),
    }
    with pytest.raises(ValueError, match="2 copies of every image make a multiple of 2 rows, got 7"):
        calls[name]()
