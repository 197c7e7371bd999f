"""The noise contract: draw t of an example is a function of (seed, example index, stage, t) alone."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from enum import IntEnum
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lightning_rs.checks import check_positive, check_word
from lightning_rs.registry import join_options

BLOCK = 100
"""Draws per block. A block is always generated whole, so where batches cut a block does not matter. Part of the
contract: another value gives other noise."""


class Stage(IntEnum):
    """What a draw is for. Stages of the same example never share noise: the proofs need independent samples."""

    SELECTION = 0
    ESTIMATION = 1
    PREDICTION = 2
    RANDOMIZATION = 3


class Noise(ABC):
    """A distribution of noise that is added to inputs. A value: equal ones are interchangeable.

    Attributes:
        name: of the distribution, as in run.json; mechanisms say for which of them they hold.
        scale: in the units of the input; what mechanisms call sigma.
        levels: inputs have to be multiples of 1 / levels; None for any input.

    An option that a subclass takes beside the scale is an attribute of the same name.
    """

    name: ClassVar[str]
    levels: int | None = None

    def __init__(self, scale: float) -> None:
        self.scale = check_positive("sigma", scale)

    @abstractmethod
    def draw(self, x: Tensor, copies: int = 1, generator: torch.Generator | None = None) -> Tensor:
        """Fresh draws for inputs (rows, *shape): (copies * rows, *shape), the first copies of all inputs first.

        From PyTorch's global generator when none is given.
        """

    @abstractmethod
    def source(
        self, seed: int, shape: tuple[int, ...], dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
    ) -> NoiseSource:
        """The addressable draws of one seed, for inputs of this shape and type."""

    @property
    def label(self) -> str:
        """The text from which `make_noise` makes it again at its scale: its name, and its options if it has any."""
        options = [option for option in inspect.signature(type(self)).parameters if option != "scale"]
        return join_options(self.name, {option: getattr(self, option) for option in options})

    def check_input(self, x: Tensor) -> None:
        """Refuse an input that does not lie on the levels.

        Raises:
            ValueError: names the first pixel that does not, its place and its value.
        """
        if self.levels is None:
            return
        steps = x.double() * self.levels
        off = ((steps - steps.round()).abs() > 1e-3).nonzero()
        if len(off):
            place = tuple(off[0].tolist())
            raise ValueError(
                f"{self.name} noise needs inputs that are multiples of 1/{self.levels}; pixel {place} is {x[place]:.9g}"
            )

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((self.name, self.scale))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.scale:g})"


class NoiseSource(ABC):
    """Draws of all examples and stages of one seed. Subclasses say how a block is made and how it is added.

    Args:
        seed: seed of the whole certification, in [0, 2**64).
        shape: shape of one input.
        dtype: `torch.float32` or `torch.float64`; nothing coarser, since the proofs assume a continuous distribution.
        device: where the draws are made.

    Raises:
        ValueError: another dtype, or a negative seed.
    """

    def __init__(
        self, seed: int, shape: tuple[int, ...], dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
    ) -> None:
        if dtype not in (torch.float32, torch.float64):
            raise ValueError(f"noise is drawn in torch.float32 or torch.float64, got inputs of {dtype}")
        self.seed = check_word("seed", seed)
        self.device = torch.device(device)
        # The block that the last rows were cut from: most often the next rows are cut from it too.
        self._block = torch.empty((BLOCK, *shape), dtype=dtype, device=self.device)
        self._held: tuple[int, Stage, int] | None = None

    def fill(self, out: Tensor, index: int, stage: Stage, start: int) -> Tensor:
        """Write draws start, start + 1, ... in units of the scale into the rows of `out` (rows, *shape); return it.

        Raises:
            ValueError: an index outside [0, 2**64).
        """
        check_word("index", index)
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

    @abstractmethod
    def perturb(
        self, out: Tensor, x: Tensor, index: int, stage: Stage, start: int, units: Tensor | None = None
    ) -> None:
        """Write x + draws start, start + 1, ... into `out` (rows, *shape).

        Args:
            out: where the noisy copies go.
            x: the input, (*shape).
            index, stage, start: which draws.
            units: (rows, *shape), where the draws by themselves go, in units of the scale; not needed by most.
        """

    @abstractmethod
    def _draw(self, index: int, stage: Stage, block: int, out: Tensor) -> None:
        """Write a whole block in units of the scale."""


def philox(seed: int, index: int, stage: Stage, block: int) -> np.random.Generator:
    """NumPy's Philox generator keyed by (seed, index), with (stage, block) in the upper half of its counter.

    Different blocks read disjoint parts of the generator's sequence.
    """
    key: NDArray[np.uint64] = np.array([seed, index], dtype=np.uint64)  # A list would make large numbers floats.
    return np.random.Generator(np.random.Philox(key=key, counter=[0, 0, int(stage), block]))


def uniform(seed: int, index: int) -> float:
    """The one draw of U(0, 1) that randomised mechanisms use for an example, the same on every device."""
    return float(philox(seed, index, Stage.RANDOMIZATION, 0).random())
