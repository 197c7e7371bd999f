"""Gaussian noise on the grid of the images: certificates that hold for the program as it runs."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lightning_rs.checks import check_at_least
from lightning_rs.noise.base import BLOCK, Noise, NoiseSource, Stage
from lightning_rs.noise.gaussian import standard_normal

_BITS = 64
_REACH = 9.2
"""Standard deviations beyond which a draw lies with less probability than 2**-64."""
_MOST_REACH = 2**22
"""The same in steps of the grid, at most: tables are as long."""
_POINT = 9.0
"""Half a step of the grid in standard deviations from which all draws are 0, up to a probability of a few 2**-64."""

# Pixels that are made at once: what is written is read again while the cache still holds it. Another value gives other
# noise on the CPU.
_PIECE = 2**17


class GridGaussianSource(NoiseSource):
    """Integer draws, and inputs under them.

    k + K is the number of thresholds that a 64-bit random number reaches. On the CPU its upper 16 bits index a table;
    where a threshold lies among the numbers that begin with them, 48 further bits and a binary search decide.
    Elsewhere all are searched for. So CPU and GPU give different, individually reproducible draws of one distribution.
    """

    noise: GridGaussian

    def block_rows(self, shape: tuple[int, ...]) -> int:
        # More of small images, up to 1,000: the many steps of a block would cost more than its few pixels.
        return BLOCK * min(10, max(1, 2**16 // (BLOCK * max(1, math.prod(shape)))))

    @property
    def draw_dtype(self) -> torch.dtype:
        return torch.int16 if 2 * self.noise.reach + self.noise.levels < 2**15 else torch.int32

    def perturb(
        self, out: Tensor, x: Tensor, index: int, stage: Stage, start: int, draws: Tensor | None = None
    ) -> None:
        decode = self._decoder(x)
        for rows, block, offset in self._parts(index, start, len(out)):
            cut = self._cut(index, stage, block, offset, rows)
            if draws is not None:
                draws[rows].copy_(cut)
            decode(cut, out[rows])

    def standardised(self, draws: Tensor) -> Tensor:
        """E[z | k] / sigma: bounds for draws z hold for conditional means by Jensen's inequality."""
        return self._means[draws.long() + self.noise.reach]

    @cached_property
    def _thresholds(self) -> NDArray[np.uint64]:
        return _thresholds(self.noise.scale, self.noise.levels)

    @cached_property
    def _table(self) -> NDArray[np.signedinteger]:
        return _table(self.noise.scale, self.noise.levels, np.int16 if self.draw_dtype is torch.int16 else np.int32)

    @cached_property
    def _decoded(self) -> Tensor:
        """Of all sums. As `torchvision.transforms.ToTensor` decodes: one division in the inputs' own type."""
        levels, reach = self.noise.levels, self.noise.reach
        sums = torch.arange(-reach, levels + reach + 1).to(self.dtype)
        return sums.div(torch.tensor(levels, dtype=self.dtype)).to(self.device)

    @cached_property
    def _sums(self) -> NDArray[np.intp]:
        """Room for those of a piece, of one row at least."""
        return np.empty(max(_PIECE, math.prod(self.shape)), dtype=np.intp)

    @cached_property
    def _means(self) -> Tensor:
        return torch.from_numpy(_conditional_means(self.noise.scale, self.noise.levels)).to(self.device)

    @cached_property
    def _signed_thresholds(self) -> Tensor:
        """For 64 random bits that are read as an integer with a sign."""
        return torch.from_numpy((self._thresholds ^ np.uint64(2**63)).view(np.int64)).to(self.device)

    def _decoder(self, x: Tensor) -> Callable[[Tensor, Tensor], None]:
        """How draws are added to x, as integers, decoded and written."""
        if self.device.type != "cpu":
            return self._decoder_on_device(x)
        places = (np.rint(x.numpy() * self.noise.levels) + self.noise.reach).astype(self._table.dtype)
        return lambda draws, out: self._decode(draws.numpy(), places, out.numpy())

    def _decoder_on_device(self, x: Tensor) -> Callable[[Tensor, Tensor], None]:
        places = (x * self.noise.levels).round().add(self.noise.reach).to(self.draw_dtype)
        return lambda draws, out: out.copy_(self._decoded[(draws + places).long()])

    def _decode(self, draws: NDArray, places: NDArray, out: NDArray) -> None:
        """In NumPy, for it lets the classifier's thread run meanwhile; in the mode that does not look for errors."""
        step = max(1, _PIECE // max(1, places.size))
        table = self._decoded.numpy()
        for k in range(0, len(draws), step):
            part = draws[k : k + step]
            sums = np.add(part, places, out=self._sums[: part.size].reshape(part.shape))
            np.take(table, sums, out=out[k : k + step], mode="clip")

    def _draw(self, index: int, stage: Stage, block: int, out: Tensor) -> None:
        if self.device.type == "cpu":
            self._draw_by_table(index, stage, block, out.numpy().reshape(-1))
        else:
            self._draw_by_search(self.device_generator(index, stage, block), out)

    def _draw_by_table(self, index: int, stage: Stage, block: int, out: NDArray) -> None:
        random = self.generator(index, stage, block)
        undecided = np.iinfo(out.dtype).min
        for k in range(0, out.size, _PIECE):
            part = out[k : k + _PIECE]
            # All 64 bits, by the one method that lets other threads run meanwhile.
            words = random.integers(0, 2**64, -(-part.size // 4), dtype=np.uint64)
            upper = words.view(np.uint16)[: part.size]
            np.take(self._table, upper, out=part, mode="clip")
            places = np.flatnonzero(part == undecided)
            lower = random.bit_generator.random_raw(places.size) >> np.uint64(16)
            bits = upper[places].astype(np.uint64) << np.uint64(48) | lower
            part[places] = np.searchsorted(self._thresholds, bits, side="right") - self.noise.reach

    def _draw_by_search(self, generator: torch.Generator, out: Tensor) -> None:
        bits = torch.empty(out.shape, dtype=torch.int64, device=out.device).random_(-(2**63), None, generator=generator)
        out.copy_(self._search(bits))

    def _search(self, bits: Tensor) -> Tensor:
        """Draws from 64 bits each, read as integers with a sign."""
        return torch.bucketize(bits, self._signed_thresholds, right=True, out_int32=True).sub_(self.noise.reach)


class GridGaussian(Noise):
    """Gaussian noise rounded to multiples of 1 / levels, added to inputs on that grid as integers.

    Let Q round to the grid and D decode the integers to floating-point numbers by a table. F = f . D . Q is a
    measurable function on R^d, whatever arithmetic f is made of, so every certificate of Gaussian smoothing holds for F
    as it stands. For x on the grid, Q(x + z) = x + Q(z), and Q(z) = k / levels has exactly the probabilities

        P(k) = Phi((k + 1/2) / (levels sigma)) - Phi((k - 1/2) / (levels sigma)),

    drawn from 64 random bits a pixel. The classifier that is certified is F: predict with the same noise.

    In floating point x + sigma z is rounded, and its last bits tell which x it came from: see V. Voracek and M. Hein,
    "Sound Randomized Smoothing in Floating-Point Arithmetics", 2023. Here nothing is rounded after the draw.

    Args:
        scale: standard deviation sigma before rounding, in the units of the input.
        levels: inputs are multiples of 1 / levels in [0, 1]: 255 for 8-bit images.

    Attributes:
        reach: K, the largest |k|: beyond 9.2 standard deviations, all tails together, lies less than 2**-64.

    Raises:
        ValueError: sigma <= 0, levels outside [1, 65535], a sigma so small that every draw is rounded to 0, or so large
            that its table would take hours to compute.
    """

    name = "grid_gaussian"
    source_class = GridGaussianSource
    levels: int

    def __init__(self, scale: float, levels: int) -> None:
        super().__init__(scale)
        self.levels = check_at_least("levels", levels, 1)
        if self.levels >= 2**16:
            raise ValueError(f"levels must be less than 65536, those of 16-bit images, got {self.levels}")
        least, most = 0.5 / _POINT / self.levels, _MOST_REACH / _REACH / self.levels
        if self.scale < least:
            grid = f"the grid of 1/{self.levels}"
            raise ValueError(f"sigma = {self.scale:g} is rounded away on {grid}: it must be at least {least:.2g}")
        if self.scale > most:
            raise ValueError(f"sigma = {self.scale:g} on the grid of 1/{self.levels} must be at most {most:.2g}")

    @property
    def reach(self) -> int:
        return math.ceil(_REACH * self.scale * self.levels)

    def sampling_error(self, draws: int, shape: tuple[int, ...]) -> float:
        """Draws times pixels times (2 K + 1) 2**-64: each of 2 K thresholds is rounded to a multiple of 2**-64, and the
        tails beyond K are less than that."""
        return draws * math.prod(shape) * (2 * self.reach + 1) * 2.0**-_BITS

    def draw(self, x: Tensor, copies: int = 1, generator: torch.Generator | None = None) -> Tensor:
        return standard_normal(x, copies, generator).mul_(self.scale * self.levels).round_().div_(self.levels)


@lru_cache(maxsize=16)
def _thresholds(scale: float, levels: int) -> NDArray[np.uint64]:
    """T_k = ceil(2**64 Phi((k + 1/2) / (levels sigma))), k = -K, ..., K - 1, but for those that are 2**64."""
    numbers = _numbers(40)
    ideal = [numbers.ldexp(numbers.ncdf(-a), _BITS) for a in _edges(numbers, scale, levels)]
    # Phi(a) = 1 - Phi(-a).
    values = [int(numbers.ceil(t)) for t in ideal[::-1]] + [2**_BITS - int(numbers.floor(t)) for t in ideal]
    return np.array([value for value in values if value < 2**_BITS], dtype=np.uint64)


@lru_cache(maxsize=16)
def _table(scale: float, levels: int, dtype: type[np.signedinteger]) -> NDArray[np.signedinteger]:
    """k for all 64-bit numbers that begin with these 16 bits, or the least integer where they disagree."""
    least = np.arange(2**16, dtype=np.uint64) << np.uint64(48)
    bounds = _thresholds(scale, levels)
    counts, others = (np.searchsorted(bounds, least | np.uint64(rest), side="right") for rest in (0, 2**48 - 1))
    reach = GridGaussian(scale, levels).reach
    return np.where(counts == others, counts - reach, np.iinfo(dtype).min).astype(dtype)


@lru_cache(maxsize=16)
def _conditional_means(scale: float, levels: int) -> NDArray[np.float64]:
    """E[z | k] / sigma for k = -K, ..., K: (phi(a) - phi(b)) / (Phi(b) - Phi(a)), a and b the edges of k's bin.

    Of the outermost two bins the whole tails.
    """
    numbers = _numbers(40)
    edges = _edges(numbers, scale, levels)
    density = [numbers.npdf(a) for a in edges] + [numbers.mpf(0)]
    beyond = [numbers.ncdf(-a) for a in edges] + [numbers.mpf(0)]
    upper = [float((density[k] - density[k + 1]) / (beyond[k] - beyond[k + 1])) for k in range(len(edges))]
    return np.array([*(-u for u in reversed(upper)), 0.0, *upper])


def _numbers(digits: int) -> Any:
    """Arithmetic of so many digits, apart from mpmath's global one."""
    from mpmath import MPContext

    numbers = MPContext()
    numbers.dps = digits
    return numbers


def _edges(numbers: Any, scale: float, levels: int) -> list[Any]:
    """Upper edges of the bins 0, ..., K - 1 in standard deviations."""
    width = numbers.mpf(scale) * levels
    return [(k + numbers.mpf(0.5)) / width for k in range(GridGaussian(scale, levels).reach)]
