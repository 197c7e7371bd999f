"""What the draws of one example said."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lightning_rs.noise import Noise
from lightning_rs.statistics import Statistics, fields_from
from lightning_rs.statistics.fields import Source

if TYPE_CHECKING:
    from lightning_rs.smoothing.plan import Plan

# What the shape of the input has to be known for.
_WITH_SHAPE = {"input_shape", *fields_from(Source.NOISE)}


@dataclass(frozen=True)
class Sample:
    """What the draws of one example said.

    Attributes:
        position: place of the example among those given.
        index: its index.
        shape: shape of its input.
        clean_prediction: answer to the input without noise, -1 if it was NaN; None if that was not asked for.
        selection_counts: (K,) votes of the selection draws; None without any.
        counts: (K,) votes of the main draws, those with NaN scores counted against the selected class.
        selected: the class that the selection votes chose, or the main ones if there are no others.
        fields: the other fields of `Statistics` that were asked for, but for `look_counts`.
        path: (successes, draws) at every look: main draws that voted for the selected class, and all main draws.
        seconds: its share, by rows, of the time that all examples took so far.
        unanswered: number of main draws with NaN scores.
    """

    position: int
    index: int
    shape: tuple[int, ...]
    clean_prediction: int | None
    selection_counts: NDArray[np.int64] | None
    counts: NDArray[np.int64]
    selected: int
    fields: dict[str, NDArray]
    path: list[tuple[int, int]]
    seconds: float
    unanswered: int = 0

    def statistics(self, noise: Noise, plan: Plan) -> Statistics:
        """Statistics of this one example, sampled under `noise` by `plan`."""
        arrays: dict[str, NDArray] = {"counts": self.counts, **self.fields}
        if self.selection_counts is not None:
            arrays["selection_counts"] = self.selection_counts
        if "look_counts" in plan.fields:
            arrays["look_counts"] = np.array(self.path + self.path[-1:] * (len(plan.looks) - len(self.path)))
        return Statistics(
            noise.scale,
            **{name: np.asarray(values)[None] for name, values in arrays.items()},
            input_shape=self.shape if plan.fields & _WITH_SHAPE else None,
            noise=noise.name,
            sampling_error=plan.sampling_error(noise, self.shape),
        )
