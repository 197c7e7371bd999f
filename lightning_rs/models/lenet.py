"""LeNet for 28x28 grey images."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from lightning_rs.models.architecture import Architecture


def lenet(num_classes: int) -> nn.Sequential:
    """Two 5x5 convolutions (20 and 50 channels) with max pooling, then 500 hidden units.

    Source: Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-Based Learning Applied to Document Recognition",
    1998; in the widths that certified-robustness papers use for MNIST.
    """
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(1, 20, kernel_size=5),
            relu1=nn.ReLU(),
            pool1=nn.MaxPool2d(2),
            conv2=nn.Conv2d(20, 50, kernel_size=5),
            relu2=nn.ReLU(),
            pool2=nn.MaxPool2d(2),
            flatten=nn.Flatten(),
            fc1=nn.Linear(50 * 4 * 4, 500),
            relu3=nn.ReLU(),
            fc2=nn.Linear(500, num_classes),
        )
    )


LENET = Architecture("lenet", lenet, channels=1, size=28)
