"""What every loss keeps: the paper's formula, exact gradients, and no NaN where scores are extreme."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch


def logit_cases(copies: int = 3, rows: int = 5, classes: int = 4) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Name to logits (copies, rows, classes) in float64 and labels (rows,)."""
    generator = np.random.default_rng(0)
    y = generator.integers(classes, size=rows)
    right = np.eye(classes)[y]
    wrong = np.eye(classes)[(y + 1) % classes]
    random = generator.normal(size=(copies, rows, classes))
    everywhere = np.ones((copies, 1, 1))
    first = np.arange(copies)[:, None, None] == 0
    return {
        "random": (2 * random, y),
        "nearly right": (random + 3 * right, y),
        "all right": (0.3 * random + right, y),
        "one-hot": (everywhere * 500 * right, y),
        "one-hot and wrong": (everywhere * 500 * wrong, y),
        "copies that contradict each other": (300 * np.where(first, wrong, right), y),
        "all wrong": (random + 9 * wrong, y),
        "ties of all": (np.zeros((copies, rows, classes)), y),
        "ties of two": (everywhere * 4 * (right + wrong), y),
    }


CASES = logit_cases()


class LossChecks:
    """Derived in the test file of a loss by a class that names it, with fixed settings, and its reference.

    Both take logits (copies, rows, classes) and labels (rows,).
    """

    loss: Callable
    formula: Callable

    @pytest.mark.parametrize("copies", [1, 3])
    @pytest.mark.parametrize("case", CASES)
    def test_every_part_equals_the_papers_formula(self, case, copies):
        logits, y = CASES[case]
        logits = logits[:copies]
        parts = self.loss(torch.from_numpy(logits), torch.from_numpy(y))
        expected = self.formula(logits, y)
        assert list(parts) == list(expected)
        for part, value in parts.items():
            assert float(value) == pytest.approx(expected[part], rel=1e-9, abs=1e-12), part

    @pytest.mark.parametrize("case", CASES)
    def test_in_single_precision_too_and_from_bfloat16_logits(self, case):
        logits, y = CASES[case]
        for dtype in (torch.float32, torch.bfloat16):
            rounded = torch.from_numpy(logits).to(dtype)
            parts = self.loss(rounded, torch.from_numpy(y))
            expected = self.formula(rounded.double().numpy(), y)
            for part, value in parts.items():
                assert value.dtype == torch.float32
                assert float(value) == pytest.approx(expected[part], rel=2e-5, abs=1e-6), (part, dtype)

    @pytest.mark.parametrize("case", ["random", "nearly right", "all right", "all wrong"])
    def test_gradient_equals_finite_differences(self, case):
        logits, y = CASES[case]
        u = torch.from_numpy(logits).requires_grad_()
        labels = torch.from_numpy(y)
        assert torch.autograd.gradcheck(lambda v: sum(self.loss(v, labels).values()), u, eps=1e-6, atol=1e-4)

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
    @pytest.mark.parametrize("scale", [1.0, 1e4])
    @pytest.mark.parametrize("case", CASES)
    def test_gradients_are_finite_however_extreme_the_scores(self, case, scale, dtype):
        logits, y = CASES[case]
        u = (scale * torch.from_numpy(logits)).to(dtype).requires_grad_()
        sum(self.loss(u, torch.from_numpy(y)).values()).backward()
        assert torch.isfinite(u.grad).all()
