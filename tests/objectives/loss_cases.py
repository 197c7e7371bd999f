"""Logits at which losses are compared with the references: random ones and the awkward ones."""

from __future__ import annotations

import numpy as np

ARGUMENTS = {"architecture": "digits_cnn", "num_classes": 10, "input_shape": [1, 8, 8], "mean": [0.3], "std": [0.4]}


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
