"""Gaussian noise."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from lightning_rs.noise.base import Noise, NoiseSource, Stage


class GaussianSource(NoiseSource):
    """Standard normal draws, and inputs under `sigma` times them.

    On the CPU a block is read from NumPy's Philox generator. Elsewhere it comes from that device's own generator,
    seeded with a 64-bit hash of what addresses the block. So CPU and GPU give different, individually reproducible
    noise.
    """

    def perturb(
        self, out: Tensor, x: Tensor, index: int, stage: Stage, start: int, draws: Tensor | None = None
    ) -> None:
        """In two roundings, never a fused multiply-add, which would depend on a row's place in the batch."""
        self.fill(out, index, stage, start)
        if draws is not None:
            draws.copy_(out)
        if out.device.type == "cpu":
            # NumPy, for it lets the classifier's thread run meanwhile and starts no threads of its own.
            array = out.numpy()
            np.add(np.multiply(array, self.noise.scale, out=array), x.numpy(), out=array)
        else:
            out.mul_(self.noise.scale).add_(x)

    def _draw(self, index: int, stage: Stage, block: int, out: Tensor) -> None:
        if self.device.type == "cpu":
            array = out.numpy()
            self.generator(index, stage, block).standard_normal(dtype=array.dtype, out=array)
        else:
            out.normal_(generator=self.device_generator(index, stage, block))


class Gaussian(Noise):
    """N(0, sigma^2 I), drawn in the inputs' float32 or float64 and added in it.

    What is proved of it holds in real arithmetic. In floating point the rounding of x + z tells a classifier which x it
    came from, so a certificate can be wrong for one that reads it: see `GridGaussian`, which has no such rounding.

    Args:
        scale: standard deviation sigma, in the units of the input.
    """

    name = "gaussian"
    source_class = GaussianSource

    def check_input(self, x: Tensor) -> None:
        """As `Noise`, and refuse an input that is so large that noise of this scale is rounded away.

        Raises:
            ValueError: says how large.
        """
        super().check_input(x)
        largest = float(x.abs().max()) if x.numel() else 0.0
        if largest * torch.finfo(x.dtype).eps > self.scale:
            raise ValueError(
                f"noise of sigma = {self.scale:g} is rounded away beside inputs of {largest:g} in {x.dtype}: scale them"
            )

    def draw(self, x: Tensor, copies: int = 1, generator: torch.Generator | None = None) -> Tensor:
        return standard_normal(x, copies, generator).mul_(self.scale)


def standard_normal(x: Tensor, copies: int = 1, generator: torch.Generator | None = None) -> Tensor:
    """Fresh draws of N(0, 1) for inputs (rows, *shape): (copies * rows, *shape), in their type and memory format.

    They are drawn in the order in which they lie in memory, which alone is fast; so inputs in channels-last order have
    other draws than the same ones in plain order.
    """
    size = (copies * len(x), *x.shape[1:])
    if x.is_contiguous() or not (x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last)):
        return x.new_empty(size).normal_(generator=generator)
    rows, channels, height, width = size
    return x.new_empty((rows, height, width, channels)).normal_(generator=generator).permute(0, 3, 1, 2)
