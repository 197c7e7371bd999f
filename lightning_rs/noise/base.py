"""The noise contract: on one kind of device, draw t of an example is a function of (seed, purpose, index, stage, t).

And of what is drawn: distribution, scale, shape and floating-point type. Not of batches, order, company or processes. A
CPU reads NumPy's generator, other devices their own: on each type the noise is another.
"""

from __future__ import annotations

import hashlib
import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from enum import IntEnum
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lightning_rs.checks import check_positive, check_word
from lightning_rs.registry import join_options

BLOCK = 100
"""Draws per block, unless a source says otherwise. A block is always generated whole, so where batches cut a block does
not matter. Part of the contract: another value gives other noise."""

# Of blocks that are kept for further rows.
_HELD_BYTES = 2**26

# Of a pixel in [0, 1] that was computed in float32.
_ROUNDING = 2.0**-22


class Purpose(IntEnum):
    """What draws are made for. No two purposes share noise.

    A certificate assumes that its draws had no say in what is certified. A checkpoint that is chosen by its certified
    accuracy on the validation images depends on their draws: those of the test images have to be others. Those of a
    changed classifier are others than those of the certification that it goes on from.
    """

    TEST = 0
    VALIDATION = 1
    PREDICTION = 2
    PILOT = 3
    ATTACK = 4
    INCREMENTAL = 5


class Stage(IntEnum):
    """What a draw of one purpose is for. Stages of the same example never share noise: proofs need independence."""

    SELECTION = 0
    ESTIMATION = 1
    RANDOMIZATION = 3  # 2 was prediction, before that became a purpose.


class Noise(ABC):
    """A distribution of noise that is added to inputs. A value: equal ones are interchangeable.

    Attributes:
        name: of the distribution, as in run.json; mechanisms say for which of them they hold.
        scale: in the units of the input; what mechanisms call sigma.
        source_class: of its addressable draws.
        levels: inputs have to be multiples of 1 / levels in [0, 1]; None for any input.
        certifies: whether inputs are certified, or a classifier is trained, under it; otherwise no user names it.

    An option that a subclass takes beside the scale is an attribute of the same name.
    """

    name: ClassVar[str]
    source_class: ClassVar[type[NoiseSource]]
    levels: int | None = None
    certifies: ClassVar[bool] = True

    def __init__(self, scale: float) -> None:
        self.scale = check_positive("sigma", scale)

    @abstractmethod
    def draw(self, x: Tensor, copies: int = 1, generator: torch.Generator | None = None) -> Tensor:
        """Fresh draws for inputs (rows, *shape): (copies * rows, *shape), the first copies of all inputs first.

        For training: certificates and predictions are made with `source`. From PyTorch's global generator when none is
        given.
        """

    def source(
        self,
        seed: int,
        shape: tuple[int, ...],
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        purpose: Purpose = Purpose.TEST,
    ) -> NoiseSource:
        """The addressable draws of one seed and purpose, for inputs of this shape and type: see `NoiseSource`."""
        return self.source_class(self, seed, shape, dtype, device, purpose)

    def sampling_error(self, draws: int, shape: tuple[int, ...]) -> float:
        """Probability, at most, that any of so many draws for an input of this shape is not an exact one.

        Beyond what the distribution's class says it assumes. It is part of alpha.
        """
        return 0.0

    @property
    def label(self) -> str:
        """The text from which `make_noise` makes it again at its scale: its name, and its options if it has any."""
        return join_options(self.name, {option: getattr(self, option) for option in self._options})

    def check_input(self, x: Tensor) -> None:
        """Refuse an input that is not finite, or does not lie on the levels, up to the rounding of float32.

        Raises:
            ValueError: names the first pixel that does not, its place and its value.
        """
        if self.levels is None:
            off = (~x.isfinite()).nonzero()
            if len(off):
                place = tuple(off[0].tolist())
                raise ValueError(f"{self.name} noise needs finite inputs; pixel {place} is {float(x[place])}")
            return
        exact = x.double()
        distance = (exact - (exact * self.levels).round().clamp(0, self.levels) / self.levels).abs()
        off = (~(distance <= _ROUNDING)).nonzero()  # NaN is off, too.
        if len(off):
            place = tuple(off[0].tolist())
            raise ValueError(
                f"{self.name} noise needs inputs that are multiples of 1/{self.levels} in [0, 1]; pixel {place} is "
                f"{float(x[place]):.9g}"
            )

    def quantize(self, x: Tensor) -> Tensor:
        """The inputs, each pixel at the nearest of the levels.

        Raises:
            ValueError: the noise takes any input, and so has no levels.
        """
        if self.levels is None:
            raise ValueError(f"there are no levels to round to: {self.name} noise takes any input")
        return (x.double() * self.levels).round().clamp(0, self.levels).to(x.dtype) / self.levels

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((self.name, self.scale))

    def __repr__(self) -> str:
        options = "".join(f", {option}={getattr(self, option)}" for option in self._options)
        return f"{type(self).__name__}({self.scale:g}{options})"

    @property
    def _options(self) -> list[str]:
        return [option for option in inspect.signature(type(self)).parameters if option != "scale"]


class NoiseSource(ABC):
    """Draws of all examples and stages of one seed and purpose. Subclasses say how a block is made and how it is added.

    Args:
        noise: the distribution.
        seed: seed of the whole certification, in [0, 2**64).
        shape: shape of one input.
        dtype: of the inputs, `torch.float32` or `torch.float64`; nothing coarser.
        device: where the draws are made.
        purpose: what they are for.

    Raises:
        ValueError: another dtype, or a negative seed.
    """

    def __init__(
        self,
        noise: Noise,
        seed: int,
        shape: tuple[int, ...],
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        purpose: Purpose = Purpose.TEST,
    ) -> None:
        if dtype not in (torch.float32, torch.float64):
            raise ValueError(f"noise is drawn in torch.float32 or torch.float64, got inputs of {dtype}")
        self.noise = noise
        self.seed = check_word("seed", seed)
        self.purpose = Purpose(purpose)
        self.device = torch.device(device)
        self.shape, self.dtype = tuple(shape), dtype
        self._rows = self.block_rows(self.shape)
        # The blocks that rows were last cut from, the newest last: most often further rows are cut from them.
        self._blocks: dict[tuple[int, Stage, int], Tensor] = {}
        self._spare: list[Tensor] = []
        size = self._rows * math.prod(self.shape) * self.draw_dtype.itemsize
        self._capacity = min(64, max(1, _HELD_BYTES // max(1, size)))

    def block_rows(self, shape: tuple[int, ...]) -> int:
        """Draws per block for inputs of this shape."""
        return BLOCK

    @property
    def draw_dtype(self) -> torch.dtype:
        """Type of the draws by themselves."""
        return self.dtype

    @abstractmethod
    def perturb(
        self, out: Tensor, x: Tensor, index: int, stage: Stage, start: int, draws: Tensor | None = None
    ) -> None:
        """Write x under draws start, start + 1, ... into `out` (rows, *shape).

        Args:
            out: where the noisy copies go.
            x: the input, (*shape).
            index, stage, start: which draws.
            draws: (rows, *shape), of the inputs' type, where the draws by themselves go, as `standardised` takes them;
                not needed by most.
        """

    @abstractmethod
    def _draw(self, index: int, stage: Stage, block: int, out: Tensor) -> None:
        """Write a whole block of draws."""

    def standardised(self, draws: Tensor) -> Tensor:
        """Draws, as `perturb` hands them out, in float64 and in units of the scale."""
        return draws.double()

    def fill(self, out: Tensor, index: int, stage: Stage, start: int) -> Tensor:
        """Write draws start, start + 1, ... by themselves into the rows of `out` (rows, *shape); return it.

        Raises:
            ValueError: an index outside [0, 2**64).
        """
        for rows, block, offset in self._parts(index, start, len(out)):
            if rows.stop - rows.start == self._rows and out.dtype == self.draw_dtype:
                self._draw(index, stage, block, out[rows])
            else:
                out[rows].copy_(self._cut(index, stage, block, offset, rows))
        return out

    def _parts(self, index: int, start: int, count: int) -> Iterator[tuple[slice, int, int]]:
        """Rows of a request, the block that they are cut from, and where it is cut."""
        check_word("index", index)
        done = 0
        while done < count:
            block, offset = divmod(start + done, self._rows)
            rows = min(self._rows - offset, count - done)
            yield slice(done, done + rows), block, offset
            done += rows

    def _cut(self, index: int, stage: Stage, block: int, offset: int, rows: slice) -> Tensor:
        """As many rows of a block, from `offset` on; valid until the next cut."""
        address = (index, stage, block)
        held = self._blocks.pop(address, None)
        if held is None:
            held = self._room()
            self._draw(index, stage, block, held)
        end = offset + rows.stop - rows.start
        if end == len(held):  # Nothing is left of it: the next block goes where the cache still is.
            self._spare.append(held)
        else:
            self._blocks[address] = held
        return held[offset:end]

    def _room(self) -> Tensor:
        if self._spare:
            return self._spare.pop()
        if len(self._blocks) == self._capacity:
            return self._blocks.pop(next(iter(self._blocks)))
        return torch.empty((self._rows, *self.shape), dtype=self.draw_dtype, device=self.device)

    def generator(self, index: int, stage: Stage, block: int) -> np.random.Generator:
        """NumPy's generator of a block, on the CPU."""
        return philox(self.seed, index, stage, block, self.purpose)

    def device_generator(self, index: int, stage: Stage, block: int) -> torch.Generator:
        """The device's own generator, seeded with a 64-bit hash of what addresses the block."""
        words = f"{self.seed},{index},{_stage_word(stage, self.purpose)},{block}"
        digest = hashlib.blake2b(words.encode(), digest_size=8).digest()
        return torch.Generator(self.device).manual_seed(int.from_bytes(digest, "little"))


def philox(seed: int, index: int, stage: Stage, block: int, purpose: Purpose = Purpose.TEST) -> np.random.Generator:
    """NumPy's Philox generator keyed by (seed, index); stage and purpose, and block, are the upper half of its counter.

    Different blocks read disjoint parts of the generator's sequence.
    """
    key: NDArray[np.uint64] = np.array([seed, index], dtype=np.uint64)  # A list would make large numbers floats.
    counter = [0, 0, _stage_word(stage, purpose), block]
    return np.random.Generator(np.random.Philox(key=key, counter=counter))


def _stage_word(stage: Stage, purpose: Purpose) -> int:
    """The number by which draws of a stage and a purpose are addressed."""
    return 16 * int(purpose) + int(stage)


def uniform(seed: int, index: int, purpose: Purpose = Purpose.TEST) -> float:
    """The one draw of U(0, 1) that randomised mechanisms use for an example, the same on every device."""
    return float(philox(seed, index, Stage.RANDOMIZATION, 0, purpose).random())
