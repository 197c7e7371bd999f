"""A real net, convolutions and batch norm, whose answers are known to the bit in every precision."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lightning_rs.audit.tables import Table
from lightning_rs.noise import GridGaussian

SHAPE = (2, 3, 3)
"""Of its images."""
_PIXEL, _ADDED, _TAKEN = 4, 9, 17
"""In the flat image: the pixel that is read, and two that are first added to it and later taken away again."""
_SHIFTS = (2.0, -1.0)


class BandNet(Table):
    """Class j where the middle pixel of the first channel has reached j of the increasing integers `cuts`.

    A convolution adds other pixels to that one, a batch norm shifts and scales, a second convolution takes the others
    away again and forms max(0, k - c + 1) and max(0, k - c), whose difference is 1 where k >= c and 0 elsewhere; a
    linear layer makes scores of them. Weights are powers of two, sums integers below 256: bfloat16, float16 and tf32
    have all of them, so that in every precision, folded, compiled and in channels-last order the answers are the same.
    If they are not, something was computed in another way than it was said to be.

    Args:
        cuts: J integers; J + 1 classes.
        logit: that of the answer; the others' are 0. An integer below 256.
        image: of the shape `SHAPE`.
        noise: with levels that are a power of two, and no draw beyond 60 steps of the grid.
    """

    def __init__(self, cuts: Sequence[int], logit: float, image: Tensor, noise: GridGaussian) -> None:
        integers = torch.arange(cuts[0] - 1, cuts[-1] + 1)
        answer = torch.bucketize(integers, torch.tensor(cuts), right=True)
        logits = logit * torch.eye(len(cuts) + 1)[answer]
        super().__init__(logits, [int(integers[0])], [_PIXEL], image, noise)
        self.net = _net(cuts, logit, noise.levels)

    def forward(self, rows: Tensor) -> Tensor:
        return self.net(rows)


@torch.no_grad()
def _net(cuts: Sequence[int], logit: float, levels: int) -> nn.Sequential:
    mix = nn.Conv2d(2, 2, kernel_size=3, bias=False)
    mix.weight.zero_()
    kernel = mix.weight.view(2, -1)  # Over the whole image: (outputs, pixels).
    kernel[:, _ADDED], kernel[:, _TAKEN] = levels, -levels
    kernel[0, _PIXEL] = levels
    norm = nn.BatchNorm2d(2, eps=0.0)
    norm.weight.fill_(2.0)
    norm.running_var.fill_(4.0)
    norm.bias.copy_(torch.tensor(_SHIFTS))
    steps = nn.Conv2d(2, 2 * len(cuts), kernel_size=1)
    steps.weight.copy_(torch.tensor([1.0, -1.0]).view(1, 2, 1, 1).expand_as(steps.weight))
    shift = _SHIFTS[0] - _SHIFTS[1]
    steps.bias.copy_(torch.tensor([(1.0 - c - shift, -c - shift) for c in cuts]).flatten())
    out = nn.Linear(2 * len(cuts), len(cuts) + 1)
    reached = torch.tensor([1.0, -1.0]).repeat(len(cuts), 1) * logit
    out.weight.zero_()
    for j in range(len(cuts)):  # Class j + 1 gains what class j loses.
        out.weight[j + 1, 2 * j : 2 * j + 2] = reached[j]
        out.weight[j, 2 * j : 2 * j + 2] = -reached[j]
    out.bias.zero_()
    out.bias[0] = logit
    net = nn.Sequential(mix, norm, steps, nn.ReLU(), nn.Flatten(), out)
    return net.requires_grad_(False)
