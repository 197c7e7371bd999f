"""Products and norms of gradient sums: all that first-order bounds need of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def gradient_moments(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """All that the bounds need of the sums: (B, 2, C, 4) from (B, 2, 2, C, ...), by kind and channel.

    The four numbers of two halves' sums s and t are s.s, s.t, the largest |s + t| and the sum of |s + t|. They do not
    add over draws; the sums do. Inputs that are not images (C, height, width) count as one channel.

    Args:
        sums: (B, 2, 2, *shape), float64, halves along axis 1, kinds along axis 2: `HALF`, then `MISS` of
            `lightning_rs.bounds.gradient_norms`.
    """
    channels = gradient_channels(sums.shape[3:])
    flat = np.asarray(sums, dtype=np.float64).reshape(len(sums), 2, 2, channels, -1)
    first, second = flat[:, 0], flat[:, 1]
    both = np.abs(first + second)
    return np.stack([(first**2).sum(-1), (first * second).sum(-1), both.max(-1), both.sum(-1)], axis=-1)


def gradient_channels(shape: tuple[int, ...]) -> int:
    """Channels C of an image (C, height, width); one for inputs of any other shape."""
    return shape[0] if len(shape) == 3 else 1
