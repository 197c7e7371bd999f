"""Images of another size for the net: a stage between the noise and the net."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from lightning_rs.checks import check_at_least, check_known
from lightning_rs.models.stage import Stage

MODES = ("bilinear", "bicubic", "nearest")


class Resize(nn.Module):
    """Images (rows, channels, height, width) at another height and width, by interpolation.

    Noise is added before, at the image's own size, so sigma and radii keep their units. Where images become smaller,
    each pixel averages those that it stands for (antialiasing).

    Args:
        shape: (channels, height, width) of the images that come in.
        size: height and width of those that go out.
        mode: `bilinear`, `bicubic` or `nearest`.

    Raises:
        ValueError: size < 1 or an unknown mode.
    """

    def __init__(self, shape: Sequence[int], size: int, mode: str = "bilinear") -> None:
        super().__init__()
        self.size, self.mode = check_at_least("size", size, 1), mode
        check_known("mode", mode, MODES)
        self.output_shape = (shape[0], size, size)
        self.antialias = mode != "nearest" and size < max(shape[1:])

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(x, (self.size, self.size), mode=self.mode, antialias=self.antialias)

    def extra_repr(self) -> str:
        return f"size={self.size}, mode={self.mode}"


RESIZE = Stage("resize", lambda images, size, mode="bilinear": Resize(images.shape, size, mode))
