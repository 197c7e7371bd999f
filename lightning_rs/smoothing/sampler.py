"""Classify many noisy copies of an input and count the votes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lightning_rs.smoothing.noise import NoiseStream, Stage


class Sampler:
    """Counts the votes of f(x + sigma z), z ~ N(0, I), one example at a time in batches of constant size.

    Noise is drawn on the input's device into a reused buffer and votes are counted there; they reach the host once per
    example and stage. Memory does not depend on the number of draws.

    Args:
        base_classifier: maps (rows, *shape) to (rows, num_classes) scores; the largest is the vote, the lowest index
            on ties.
        num_classes: number of classes K.
        sigma: standard deviation of the noise, in the units of the input.
        batch_size: rows per call of the base classifier.
        seed: seed of the noise.
    """

    def __init__(
        self, base_classifier: Callable[[Tensor], Tensor], num_classes: int, sigma: float, batch_size: int, seed: int
    ) -> None:
        self.base_classifier = base_classifier
        self.num_classes = num_classes
        self.sigma = sigma
        self.batch_size = batch_size
        self.seed = seed
        self._buffer: Tensor | None = None

    def votes(self, x: Tensor, index: int, stage: Stage, draws: int) -> NDArray[np.int64]:
        """Votes (K + 1,) of `draws` noisy copies of the one input `x`; the last entry counts draws with a NaN score.

        Raises:
            ValueError: the base classifier returns another shape than (rows, num_classes), or NaN for every draw.
        """
        noise = NoiseStream(self.seed, index, stage, tuple(x.shape), x.dtype, x.device)
        counts = torch.zeros(self.num_classes + 1, dtype=torch.int64, device=x.device)
        classes = torch.arange(self.num_classes + 1, device=x.device)
        for start in range(0, draws, self.batch_size):
            rows = self._rows(x, min(self.batch_size, draws - start))
            # Two roundings, never a fused multiply-add: that would depend on where a row lies in the batch.
            noise.fill(rows, start).mul_(self.sigma).add_(x)
            scores = self.base_classifier(rows)
            if scores.shape != (len(rows), self.num_classes):
                raise ValueError(
                    f"the base classifier must return {self.num_classes} scores a row, "
                    f"({len(rows)}, {self.num_classes}) in all; got {tuple(scores.shape)}"
                )
            vote = torch.where(scores.isnan().any(dim=1), self.num_classes, scores.argmax(dim=1))
            counts += (vote[:, None] == classes).sum(dim=0)
        votes = counts.cpu().numpy()
        if draws and votes[-1] == draws:
            raise ValueError(f"the base classifier returned NaN for all {draws} noisy copies of example {index}")
        return votes

    def _rows(self, x: Tensor, count: int) -> Tensor:
        shape = (self.batch_size, *x.shape)
        if self._buffer is None or (self._buffer.shape, self._buffer.dtype, self._buffer.device) != (
            shape,
            x.dtype,
            x.device,
        ):
            self._buffer = torch.empty(shape, dtype=x.dtype, device=x.device)
        return self._buffer[:count]


def select_and_count(
    selection: NDArray[np.int64], estimation: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Counts (K,) of both stages from the sampler's votes (K + 1,), with NaN draws counted against the example.

    A NaN draw is a vote for the strongest rival of the selected class: whatever the classifier would have answered,
    the certificate can only be smaller. In the selection it is no vote: any selection is sound.
    """
    counts = estimation[:-1].copy()
    rivals = counts.copy()
    rivals[selection[:-1].argmax()] = -1
    counts[rivals.argmax()] += estimation[-1]
    return selection[:-1].copy(), counts
