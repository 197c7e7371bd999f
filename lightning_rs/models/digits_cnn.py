"""A small convolutional net for 8x8 digits."""

from __future__ import annotations

from torch import nn

from lightning_rs.models.architecture import Architecture


def digits_cnn(num_classes: int) -> nn.Sequential:
    """Two convolutions and two linear layers for 1x8x8 images, 151,306 parameters at 10 classes."""
    return nn.Sequential(
        nn.Conv2d(1, 32, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 64, kernel_size=3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(64 * 4 * 4, 128),
        nn.ReLU(),
        nn.Linear(128, num_classes),
    )


DIGITS_CNN = Architecture("digits_cnn", digits_cnn, channels=1, size=8)
