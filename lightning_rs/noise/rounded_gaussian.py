"""Gaussian noise on the grid of the images, for inputs that do not lie on it: exact, as that for those that do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lightning_rs.checks import check_at_least, shown
from lightning_rs.noise.base import Noise
from lightning_rs.noise.gaussian import Gaussian
from lightning_rs.noise.grid_gaussian import GridGaussian, GridGaussianSource

# Steps of the fine grid in one sigma; more, up to the most, where the ratio would be less than this: a step has to be
# small beside the changes of a pixel, of which a large image needs little. Tables of draws are some ten times as long.
_STEPS, _RATIO, _MOST_STEPS = 512, 7, 8192
_MOST_LEVELS = 2**16 - 1
# Of the sums of inputs and draws, in steps.
_LARGEST = 2**30


class RoundedGaussianSource(GridGaussianSource):
    """Draws on the fine grid, which are added as integers; their sums are rounded to the coarse one."""

    def __init__(self, noise: RoundedGaussian, *how: Any, **options: Any) -> None:
        super().__init__(noise.fine, *how, **options)
        self._grid, self._ratio, self._steps = noise.grid, noise.ratio, noise.steps

    def _decoder(self, x: Tensor) -> Callable[[Tensor, Tensor], None]:
        places = self._steps(x).int()
        # On the device: by a number of the host's, a GPU multiplies with its reciprocal.
        grid = torch.tensor(self._grid, dtype=self.dtype, device=self.device)

        def decode(draws: Tensor, out: Tensor) -> None:
            sums = draws + places + self._ratio // 2
            torch.div(sums.div_(self._ratio, rounding_mode="floor").to(self.dtype), grid, out=out)

        return decode


class RoundedGaussian(Noise):
    """What a classifier certified under `GridGaussian` noise answers to, at inputs x' between the points of the grid.

    A certificate on the grid holds for F = f . D . Q, which rounds (Q) every pixel of a *real* input to a multiple of
    1/L and decodes (D) it; its ball is full of real inputs x', and g(x') = argmax P(F(x' + z) = c) is what it is about.
    Here x' are multiples of 1/(r L) with odd r, and no arithmetic comes between x' and Q(x' + z): an edge of Q's cells,
    (k + 1/2)/L, is an edge of the fine grid's, (r k + (r - 1)/2 + 1/2)/(r L). So Q(x' + z) depends on z through its
    rounding w/(r L) to the fine grid alone, which `GridGaussian` draws from 64 random bits, and is

        Q(x' + z) = floor((r L x' + w + (r - 1)/2) / r) / L,

    in whole numbers. For x' on the grid this has the law of `GridGaussian`.

    Not a noise to certify under: its inputs are no images, and there are further real inputs between them. Pixels may
    have any value.

    Args:
        scale: standard deviation sigma before rounding.
        grid: L, the levels of the certified images.
        ratio: r, odd; when left out such that sigma is about 500 steps of the fine grid, or more if r would be below 7.

    Attributes:
        fine: the noise on the fine grid.

    Raises:
        ValueError: as `GridGaussian`, or an even ratio.
    """

    name = "rounded_gaussian"
    certifies = False
    source_class = RoundedGaussianSource

    def __init__(self, scale: float, grid: int, ratio: int | None = None) -> None:
        super().__init__(scale)
        self.grid = GridGaussian(scale, grid).levels
        if ratio is None:
            levels = max(_STEPS / scale, min(_RATIO * self.grid, _MOST_STEPS / scale))
            most = int(min(levels, _MOST_LEVELS) / self.grid)
            ratio = max(1, most - 1 + most % 2)
        self.ratio = check_at_least("ratio", ratio, 1)
        if self.ratio % 2 == 0:
            raise ValueError(f"ratio must be odd, so that edges of cells are edges of finer ones, got {shown(ratio)}")

    @property
    def fine(self) -> GridGaussian:
        return GridGaussian(self.scale, self.grid * self.ratio)

    def sampling_error(self, draws: int, shape: tuple[int, ...]) -> float:
        """That of the draws on the fine grid: what is done with them is exact."""
        return self.fine.sampling_error(draws, shape)

    def check_input(self, x: Tensor) -> None:
        """Refuse an input that is not finite, or so large that its sums with draws overflow.

        Raises:
            ValueError: names the first such pixel.
        """
        super().check_input(x)
        if x.numel() and float(x.abs().max()) * self.fine.levels + self.fine.reach > _LARGEST:
            raise ValueError(f"pixels must be within {_LARGEST / self.fine.levels:g}, got {float(x.abs().max()):g}")

    def quantize(self, x: Tensor) -> Tensor:
        """The inputs, each pixel at the nearest point of the fine grid, in float64: what draws are added to."""
        return self.steps(x) / self.fine.levels

    def steps(self, x: Tensor) -> Tensor:
        """The same in steps of the fine grid: whole numbers, in float64."""
        return (x.double() * self.fine.levels).round()

    def draw(self, x: Tensor, copies: int = 1, generator: torch.Generator | None = None) -> Tensor:
        return self.fine.draw(x, copies, generator)


def off_grid(noise: Noise) -> Noise:
    """The noise at inputs that may lie anywhere: itself, but for noise on a grid.

    Raises:
        ValueError: noise on levels of an own kind, whose classifier between them is not known.
    """
    if noise.levels is None:
        return noise
    if type(noise) is GridGaussian:
        return RoundedGaussian(noise.scale, noise.levels)
    raise ValueError(
        f"between the levels of {noise.name} noise nothing is known of the classifier; it is known under "
        f"{Gaussian.name} and {GridGaussian.name}"
    )
