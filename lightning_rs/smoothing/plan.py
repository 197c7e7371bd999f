"""Which rows an example has: how many draws, what for, and when they may stop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum

from lightning_rs.checks import alpha_left, check_radii
from lightning_rs.mechanisms import MechanismSet
from lightning_rs.noise import Noise, Purpose
from lightning_rs.smoothing.sample import Sample


class RowKind(IntEnum):
    """What a row is for: the clean input itself, a draw that selects the class, or a draw of the main stage."""

    CLEAN = 0
    SELECTION = 1
    MAIN = 2


@dataclass(frozen=True)
class Plan:
    """The rows of every example, in this order: `clean` inputs, `n0` selection draws, and main draws.

    After each of `looks` main draws, `finished` may end the example; after the last it ends. The answer must depend on
    the draws alone, so that how many an example gets does not depend on how batches are cut.

    Attributes:
        looks: increasing numbers of main draws.
        n0: number of selection draws.
        purpose: what all of them are for.
        clean: whether the clean input is classified too.
        fields: fields of `Statistics` to collect beside the votes.
        finished: what the draws so far said -> whether that is enough.
        earlier: number of draws, made before, on which the certificates rest too.
    """

    looks: tuple[int, ...]
    n0: int = 0
    purpose: Purpose = Purpose.TEST
    clean: bool = False
    fields: frozenset[str] = frozenset()
    finished: Callable[[Sample], bool] | None = None
    earlier: int = 0

    @property
    def before(self) -> int:
        """Rows of an example before its main draws."""
        return int(self.clean) + self.n0

    def sampling_error(self, noise: Noise, shape: tuple[int, ...]) -> float:
        """That of all its draws under this noise: see `Noise.sampling_error`."""
        return noise.sampling_error(self.n0 + self.looks[-1] + self.earlier, shape)

    def locate(self, row: int) -> tuple[RowKind, int, int]:
        """(kind, draw number, last row of that kind + 1) of an example's row."""
        if row < self.clean:
            return RowKind.CLEAN, row, 1
        if row < self.before:
            return RowKind.SELECTION, row - self.clean, self.before
        return RowKind.MAIN, row - self.before, self.before + self.looks[-1]


def certification_plan(
    mechanisms: MechanismSet,
    noise: Noise,
    shape: Sequence[int],
    n0: int,
    n: int,
    alpha: float,
    radii: Sequence[float] | None = None,
    clean: bool = False,
    purpose: Purpose = Purpose.TEST,
    earlier: int = 0,
) -> Plan:
    """The draws under a noise to certify an example of a shape with: n0 and n, with sequential mechanisms n at most.

    Where certificates rest on `earlier` draws as well, the n0 that select the class are among these.

    Raises:
        ValueError: see `MechanismSet.schedule`, `check_radii` and `alpha_left`.
    """
    # What a mechanism will spend when it certifies is never less: radii for which drawing stops are certified.
    n0_now = 0 if earlier else n0
    alpha = alpha_left(alpha, noise.sampling_error(n0_now + n + earlier, tuple(shape)))
    radii = None if radii is None else check_radii(radii)
    schedule = mechanisms.schedule(noise.scale, n0, n, alpha, radii)
    enough = schedule.finished
    finished = None if enough is None else lambda sample: enough(sample.path)
    return Plan(schedule.looks, n0_now, purpose, clean, mechanisms.fields, finished, earlier)
