"""Who certifies which example: each of several processes claims the next one when it has room for it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from torch import distributed

# Examples that a process may hold in any case: fewer hardly fill a batch.
_FEWEST = 8
# Seconds between two words about what is finished.
_PAUSE = 0.1


class Claims(Iterator[int | None]):
    """The examples that this process claims, one by one, from a counter that its group shares.

    Sequential mechanisms draw a hundred times more for some examples than for others. So nobody's share is fixed: the
    counter lies in the store of `torch.distributed`'s default group, whose addition is atomic. A claim is one round
    trip (0.07 ms on one machine) and no process waits for another. Without a group the store is this process's own.

    The iterator gives None while this process holds its share already: an example that is claimed is certified where
    it is, and batches that are prepared ahead would take many of the last ones. It never does while nothing is held. A
    process holds `_FEWEST` examples or, if that is more, of W processes 1/W of all examples, or, if they cost unequal
    numbers of draws, of those that nobody has claimed yet (guided self-scheduling: C. D. Polychronopoulos and D. J.
    Kuck, IEEE Transactions on Computers 36, 1987).

    Args:
        indices: the examples, the same on all processes.
        key: the same on all processes, and no other certification's.
        unequal: whether their numbers of draws differ.

    Raises:
        ValueError: a group without a store, which MPI has.
    """

    def __init__(self, indices: Sequence[int], key: str, unequal: bool) -> None:
        self._indices = indices
        self._unequal = unequal
        self._store, self._world = distributed.HashStore(), 1
        if distributed.is_initialized():
            store, self._world = distributed.distributed_c10d._get_default_store(), distributed.get_world_size()
            if store is None:
                raise ValueError(
                    f"several processes share examples through the store of their group, which the backend "
                    f"{distributed.get_backend()} does not have; take gloo or nccl"
                )
            self._store = distributed.PrefixStore(f"lightning_rs/{key}", store)
        self._unclaimed = len(indices)
        self._held = 0
        self._known, self._untold, self._told = 0, 0, time.monotonic()

    def __next__(self) -> int | None:
        if self._held >= self._most():
            return None
        place = self._store.add("claimed", 1) - 1
        self._unclaimed = max(len(self._indices) - place - 1, 0)
        if place >= len(self._indices):
            raise StopIteration
        self._held += 1
        return self._indices[place]

    def finish(self) -> int:
        """One that this process held is finished; returns how many all have finished, as far as it is known here."""
        self._held -= 1
        self._untold += 1
        if time.monotonic() >= self._told + _PAUSE:
            self._known, self._untold = self._store.add("finished", self._untold), 0
            self._told = time.monotonic()
        return self._known + self._untold

    def _most(self) -> float:
        """Examples that this process may hold."""
        if self._world == 1:
            return float("inf")
        return max(_FEWEST, (self._unclaimed if self._unequal else len(self._indices)) / self._world)
