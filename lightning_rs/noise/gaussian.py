"""The noise contract: draw t of an example is a function of (seed, example index, stage, t) alone."""

from __future__ import annotations

import hashlib
from enum import IntEnum

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lightning_rs.checks import check_word

BLOCK = 100
"""Draws per block. A block is always generated whole, so where batches cut a block does not matter. Part of the
contract: another value gives other noise."""


class Stage(IntEnum):
    """What a draw is for. Stages of the same example never share noise: the proofs need independent samples."""

    SELECTION = 0
    ESTIMATION = 1
    PREDICTION = 2
    RANDOMIZATION = 3


def uniform(seed: int, index: int) -> float:
    """The one draw of U(0, 1) that randomised mechanisms use for an example, the same on every device."""
    philox = np.random.Philox(key=_words(seed, index), counter=[0, 0, int(Stage.RANDOMIZATION), 0])
    return float(np.random.Generator(philox).random())


def _words(seed: int, index: int) -> NDArray[np.uint64]:
    """As 64-bit words: NumPy would make lists of large numbers floats, and so different numbers the same."""
    return np.array([seed, index], dtype=np.uint64)


class NoiseSource:
    """Standard normal draws of all examples and stages of one seed.

    On the CPU a block comes from NumPy's Philox generator keyed by (seed, index), with (stage, block) in the upper
    half of its counter: different blocks read disjoint parts of the generator's sequence. Elsewhere it comes from that
    device's own generator, seeded with a 64-bit hash of the same four numbers. So CPU and GPU give different,
    individually reproducible noise.

    Args:
        seed: seed of the whole certification, in [0, 2**64).
        shape: shape of one input.
        dtype: `torch.float32` or `torch.float64`; nothing coarser, since the proofs assume Gaussian noise.
        device: where the draws are made.

    Raises:
        ValueError: another dtype, or a negative seed.
    """

    def __init__(
        self,
        seed: int,
        shape: tuple[int, ...],
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        if dtype not in (torch.float32, torch.float64):
            raise ValueError(f"noise is drawn in torch.float32 or torch.float64, got inputs of {dtype}")
        self.seed = check_word("seed", seed)
        self.device = torch.device(device)
        # The block that the last rows were cut from: most often the next rows are cut from it too.
        self._block = torch.empty((BLOCK, *shape), dtype=dtype, device=self.device)
        self._held: tuple[int, Stage, int] | None = None
        self._generator = None if self.device.type == "cpu" else torch.Generator(self.device)

    def fill(self, out: Tensor, index: int, stage: Stage, start: int) -> Tensor:
        """Write draws start, start + 1, ... of an example's stage into the rows of `out` (rows, *shape); return it."""
        done = 0
        while done < len(out):
            block, offset = divmod(start + done, BLOCK)
            rows = out[done : done + BLOCK - offset]
            if len(rows) == BLOCK:
                self._draw(index, stage, block, rows)
            else:
                if self._held != (index, stage, block):
                    self._held = None  # Until the block is whole.
                    self._draw(index, stage, block, self._block)
                    self._held = (index, stage, block)
                rows.copy_(self._block[offset : offset + len(rows)])
            done += len(rows)
        return out

    def _draw(self, index: int, stage: Stage, block: int, out: Tensor) -> None:
        if self._generator is None:
            philox = np.random.Philox(key=_words(self.seed, index), counter=[0, 0, int(stage), block])
            array = out.numpy()
            np.random.Generator(philox).standard_normal(dtype=array.dtype, out=array)
        else:
            words = f"{self.seed},{index},{int(stage)},{block}"
            digest = hashlib.blake2b(words.encode(), digest_size=8).digest()
            self._generator.manual_seed(int.from_bytes(digest, "little"))
            out.normal_(generator=self._generator)


class NoiseStream:
    """The draws of one example and stage of a `NoiseSource`, addressed by draw number.

    Args:
        index: index of the example in its data set, in [0, 2**64).
        stage: what the draws are for.
        seed, shape, dtype, device: as for `NoiseSource`.

    Raises:
        ValueError: another dtype, or a negative seed or index.
    """

    def __init__(
        self,
        seed: int,
        index: int,
        stage: Stage,
        shape: tuple[int, ...],
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        self.index = check_word("index", index)
        self.stage = Stage(stage)
        self._source = NoiseSource(seed, shape, dtype, device)

    def fill(self, out: Tensor, start: int) -> Tensor:
        """Write draws start, start + 1, ... into the rows of `out` (rows, *shape), and return it."""
        return self._source.fill(out, self.index, self.stage, start)
