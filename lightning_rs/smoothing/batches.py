"""Which rows of which examples fill the next batch."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from lightning_rs.smoothing.gradient_tally import GradientTally
from lightning_rs.smoothing.plan import Plan, RowKind


@dataclass
class Job:
    """One example on its way: its place in the tally, how far it is, and its gradient sums if they are asked for."""

    position: int
    index: int
    x: Tensor
    slot: int
    look: int = 0
    rows: int = 0
    path: list[tuple[int, int]] = field(default_factory=list)
    gradient: GradientTally | None = None


@dataclass(frozen=True)
class Segment:
    """`count` consecutive rows of a batch that hold consecutive draws of one kind of one example."""

    job: Job
    kind: RowKind
    draw: int
    offset: int
    count: int

    @property
    def rows(self) -> slice:
        """Its rows in the batch."""
        return slice(self.offset, self.offset + self.count)


@dataclass
class Layout:
    """What one batch holds. Rows of no segment are padding, which keeps its shape constant.

    Attributes:
        segments: its rows.
        begun: examples whose first rows these are.
        reached: examples that reach their next look with this batch.
        rows: number of rows in segments.
    """

    segments: list[Segment] = field(default_factory=list)
    begun: list[Job] = field(default_factory=list)
    reached: list[Job] = field(default_factory=list)
    rows: int = 0


class Batcher:
    """Packs the rows of many examples into batches of constant size.

    An example that reaches a look waits until it is told how to go on; meanwhile others fill the batches. There are as
    many places for examples as keep three batches full.

    Args:
        examples: (index, input) of each, in order; None where there is none for the moment.
        plan: the rows of every example.
        batch_size: rows of a batch.
    """

    def __init__(self, examples: Iterable[tuple[int, Tensor] | None], plan: Plan, batch_size: int) -> None:
        self.plan = plan
        self.batch_size = batch_size
        self.slots = self.slots_needed(plan, batch_size)
        self.waiting = 0
        self._source = iter(examples)
        self._positions = itertools.count()
        self._free = deque(range(self.slots))
        self._ready: deque[Job] = deque()
        self._open = Layout()

    @staticmethod
    def slots_needed(plan: Plan, batch_size: int) -> int:
        """Examples in flight at most, if each brings its fewest rows to a batch."""
        gaps = np.diff([0, *plan.looks])
        fewest = int(min(plan.before + gaps[0], *gaps[1:]) if len(gaps) > 1 else plan.before + gaps[0])
        return 3 * (batch_size // fewest + 2)

    def next(self) -> Layout | None:
        """The next batch. None if there is none, or if examples that wait for an answer may yet fill it."""
        layout = self._open
        while layout.rows < self.batch_size and (self._ready or self._admit()):
            job = self._ready[0]
            limit = self.plan.before + self.plan.looks[job.look]
            kind, draw, end = self.plan.locate(job.rows)
            count = min(end, limit, job.rows + self.batch_size - layout.rows) - job.rows
            layout.segments.append(Segment(job, kind, draw, layout.rows, count))
            layout.rows += count
            job.rows += count
            if job.rows == limit:
                layout.reached.append(self._ready.popleft())
                self.waiting += 1
        in_this_batch = len(layout.reached)
        if not layout.rows or (layout.rows < self.batch_size and self.waiting > in_this_batch):
            return None
        self._open = Layout()
        return layout

    def go_on(self, job: Job) -> None:
        """Let an example that reached a look draw to the next one, before those that began later."""
        self.waiting -= 1
        job.look += 1
        self._ready.appendleft(job)

    def end(self, job: Job) -> None:
        """Take an example out and give its place to another."""
        self.waiting -= 1
        self._free.append(job.slot)

    def _admit(self) -> bool:
        following = next(self._source, None) if self._free else None
        if following is None:
            return False
        index, x = following
        job = Job(next(self._positions), int(index), x, self._free.popleft())
        self._ready.append(job)
        self._open.begun.append(job)
        return True
