"""Grey images for a net that takes colour: a stage between the noise and the net."""

from __future__ import annotations

from torch import Tensor, nn

from lightning_rs.checks import check_at_least
from lightning_rs.models.images import ImageFacts
from lightning_rs.models.stage import Stage


class Channels(nn.Module):
    """The one channel of images (rows, 1, height, width) as often as the net has channels, without a copy.

    Args:
        count: channels of the images that go out.
        shape: (1, height, width) of the images that come in.

    Raises:
        ValueError: count < 1, or images of several channels.
    """

    def __init__(self, count: int, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.count = check_at_least("count", count, 1)
        if shape[0] != 1:
            raise ValueError(f"channels repeats the one channel of grey images, got images of {shape[0]} channels")
        self.output_shape = (count, *shape[1:])

    def forward(self, x: Tensor) -> Tensor:
        return x.expand(-1, self.count, -1, -1)

    def extra_repr(self) -> str:
        return f"count={self.count}"


def _build(images: ImageFacts, count: int = 3) -> Channels:
    return Channels(count, tuple(images.shape))


CHANNELS = Stage("channels", _build)
