"""Gaussian noise."""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from torch import Tensor

from lightning_rs.noise.base import Noise, NoiseSource, Stage, philox


class Gaussian(Noise):
    """N(0, sigma^2 I), drawn in the inputs' float32 or float64 and added in it.

    What is proved of it holds in real arithmetic.

    Args:
        scale: standard deviation sigma, in the units of the input.
    """

    name = "gaussian"

    def draw(self, x: Tensor, copies: int = 1, generator: torch.Generator | None = None) -> Tensor:
        return self.scale * x.new_empty((copies * len(x), *x.shape[1:])).normal_(generator=generator)

    def source(
        self, seed: int, shape: tuple[int, ...], dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
    ) -> GaussianSource:
        return GaussianSource(self.scale, seed, shape, dtype, device)


class GaussianSource(NoiseSource):
    """Standard normal draws, and inputs under `sigma` times them.

    On the CPU a block is read from NumPy's Philox generator. Elsewhere it comes from that device's own generator,
    seeded with a 64-bit hash of (seed, index, stage, block). So CPU and GPU give different, individually reproducible
    noise.

    Args:
        sigma: standard deviation of the noise that is added.
        seed, shape, dtype, device: see `NoiseSource`.
    """

    def __init__(
        self,
        sigma: float,
        seed: int,
        shape: tuple[int, ...],
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__(seed, shape, dtype, device)
        self.sigma = sigma
        self._generator = None if self.device.type == "cpu" else torch.Generator(self.device)

    def perturb(
        self, out: Tensor, x: Tensor, index: int, stage: Stage, start: int, units: Tensor | None = None
    ) -> None:
        """In two roundings, never a fused multiply-add, which would depend on a row's place in the batch."""
        self.fill(out, index, stage, start)
        if units is not None:
            units.copy_(out)
        if out.device.type == "cpu":
            # NumPy, for it lets the classifier's thread run meanwhile and starts no threads of its own.
            array = out.numpy()
            np.add(np.multiply(array, self.sigma, out=array), x.numpy(), out=array)
        else:
            out.mul_(self.sigma).add_(x)

    def _draw(self, index: int, stage: Stage, block: int, out: Tensor) -> None:
        if self._generator is None:
            array = out.numpy()
            philox(self.seed, index, stage, block).standard_normal(dtype=array.dtype, out=array)
        else:
            words = f"{self.seed},{index},{int(stage)},{block}"
            digest = hashlib.blake2b(words.encode(), digest_size=8).digest()
            self._generator.manual_seed(int.from_bytes(digest, "little"))
            out.normal_(generator=self._generator)
