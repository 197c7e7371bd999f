"""Classify many noisy copies of an input and tally what the base classifier says."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lightning_rs.smoothing.gradient import GRADIENT_FIELDS, GradientTally
from lightning_rs.smoothing.noise import NoiseStream, Stage, uniform
from lightning_rs.smoothing.statistics import Statistics
from lightning_rs.smoothing.tally import SCORE_FIELDS, ScoreTally, VoteTally


class Sampler:
    """Tallies f(x + sigma z), z ~ N(0, I), one example at a time in batches of constant size.

    Noise is drawn on the input's device into a reused buffer and votes are counted there; they reach the host once per
    example and stage. Memory does not depend on the number of draws, unless a mechanism asks for every score.

    Args:
        base_classifier: maps (rows, *shape) to (rows, num_classes) logits; the largest is the vote, the lowest index
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

    def sample(self, x: Tensor, index: int, n0: int, n: int, fields: Collection[str]) -> Statistics:
        """Statistics of the one example `x`: always the counts, and the `fields` that mechanisms ask for.

        A draw with a NaN score counts against the example: its vote goes to the strongest rival of the selected class.
        In the selection it is no vote, since any selection is sound.

        Raises:
            ValueError: the base classifier returns another shape than (rows, num_classes), NaN for every draw, or any
                NaN with n0 = 0.
        """
        held: dict[str, NDArray] = {}
        selected = None
        if n0:
            held["selection_counts"] = self.votes(x, index, Stage.SELECTION, n0)[:-1]
            selected = int(held["selection_counts"].argmax())
        wanted = SCORE_FIELDS.intersection(fields)
        tally = ScoreTally(wanted, self.num_classes, selected or 0, n, x.device) if wanted else None
        gradient = None
        if GRADIENT_FIELDS.intersection(fields):
            gradient = GradientTally(tuple(x.shape), x.device, keep_sums="gradient_sums" in fields)
        votes = self.votes(x, index, Stage.ESTIMATION, n, tally, gradient, selected)
        if selected is None:
            if votes[-1]:
                raise ValueError(
                    f"{votes[-1]} of {n} noisy copies of example {index} have NaN scores, which only count against a "
                    f"class that other draws selected: n0 must be at least 1"
                )
            selected = int(votes[:-1].argmax())
        held["counts"] = count_nan_against(votes, selected)
        if tally is not None:
            held |= tally.result()
        if gradient is not None:
            held |= gradient.result()
        if "uniform" in fields:
            held["uniform"] = np.float64(uniform(self.seed, index))
        arrays = {name: np.asarray(values)[None] for name, values in held.items()}
        return Statistics(self.sigma, **arrays, input_shape=tuple(x.shape))

    def votes(
        self,
        x: Tensor,
        index: int,
        stage: Stage,
        draws: int,
        scores: ScoreTally | None = None,
        gradient: GradientTally | None = None,
        selected: int | None = None,
    ) -> NDArray[np.int64]:
        """Votes (K + 1,) of `draws` noisy copies of `x`, which `scores` and `gradient` see too; the last entry counts
        NaN scores."""
        votes = VoteTally(self.num_classes, x.device)
        for start, noise, logits in self._logits(x, index, stage, draws, gradient is not None):
            votes.update(logits)
            if gradient is not None:
                gradient.update(noise, (logits.argmax(dim=1) == selected) & ~logits.isnan().any(dim=1), start)
            if scores is not None:
                scores.update(logits)
        counts = votes.result()
        if counts[-1] == draws:
            raise ValueError(f"the base classifier returned NaN for all {draws} noisy copies of example {index}")
        return counts

    def _logits(
        self, x: Tensor, index: int, stage: Stage, draws: int, keep_noise: bool
    ) -> Iterator[tuple[int, Tensor | None, Tensor]]:
        """Number of a batch's first draw, its standard normal noise if kept, and its logits."""
        noise = NoiseStream(self.seed, index, stage, tuple(x.shape), x.dtype, x.device)
        for start in range(0, draws, self.batch_size):
            rows = self._rows(x, min(self.batch_size, draws - start))
            # Two roundings, never a fused multiply-add: that would depend on where a row lies in the batch.
            noise.fill(rows, start)
            kept = rows.clone() if keep_noise else None
            rows.mul_(self.sigma).add_(x)
            logits = self.base_classifier(rows)
            if logits.shape != (len(rows), self.num_classes):
                raise ValueError(
                    f"the base classifier must return {self.num_classes} scores a row, "
                    f"({len(rows)}, {self.num_classes}) in all; got {tuple(logits.shape)}"
                )
            yield start, kept, logits

    def _rows(self, x: Tensor, count: int) -> Tensor:
        shape = (self.batch_size, *x.shape)
        if self._buffer is None or (self._buffer.shape, self._buffer.dtype, self._buffer.device) != (
            shape,
            x.dtype,
            x.device,
        ):
            self._buffer = torch.empty(shape, dtype=x.dtype, device=x.device)
        return self._buffer[:count]


def count_nan_against(votes: NDArray[np.int64], selected: int) -> NDArray[np.int64]:
    """Counts (K,) from votes (K + 1,), the NaN draws as votes for the strongest rival of `selected`.

    Whatever the classifier would have answered, no rival has more votes than the strongest is given.
    """
    counts = votes[:-1].copy()
    rivals = counts.copy()
    rivals[selected] = -1
    counts[rivals.argmax()] += votes[-1]
    return counts
