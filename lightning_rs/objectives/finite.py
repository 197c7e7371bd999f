"""A loss that is not finite: found without the host waiting for the device at every step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

STEPS_BETWEEN_LOOKS = 50
"""Of a device that works ahead of its host, which waits for it to look: one look in so many steps costs nothing."""


@dataclass(frozen=True)
class NotFinite:
    """The first loss that was not finite.

    Attributes:
        step: at which it was computed, before that step changed a weight.
        parts: of the loss, by name.
    """

    step: int
    parts: dict[str, float]


class FiniteLosses:
    """Notes, on the device, the first loss that is not finite; whoever looks waits until the device has computed it.

    On a CPU one looks at every step, before it changes a weight. On other devices a look would make the host wait at
    every step, so one looks now and then; the weights may be spoiled by then, but the note stays. It is enough to look
    before weights are evaluated or saved: nobody ever gets spoiled ones.
    """

    def __init__(self) -> None:
        # By the names of the parts, which an objective may change on its way: the first bad step or -1, and its parts.
        self._notes: dict[tuple[str, ...], tuple[Tensor, Tensor]] = {}

    def note(self, step: int, loss: Tensor, parts: Mapping[str, Tensor]) -> None:
        """Keep the step and the parts of its loss if this is the first one that is not finite."""
        values = torch.stack([part.detach() for part in parts.values()])
        noted, kept = self._notes.get(tuple(parts), (torch.full((), -1, device=loss.device), values))
        first = (noted < 0) & ~torch.isfinite(loss.detach())
        self._notes[tuple(parts)] = torch.where(first, step, noted), torch.where(first, values, kept)

    def due(self, batch: int) -> bool:
        """Whether to look after this batch of an epoch, counted from 0."""
        on_cpu = all(noted.device.type == "cpu" for noted, _ in self._notes.values())
        return on_cpu or (batch + 1) % STEPS_BETWEEN_LOOKS == 0

    def look(self) -> NotFinite | None:
        """What was noted; None if all losses were finite."""
        notes = [(int(step), names, values) for names, (step, values) in self._notes.items()]
        found = min((note for note in notes if note[0] >= 0), key=lambda note: note[0], default=None)
        return None if found is None else NotFinite(found[0], dict(zip(found[1], found[2].tolist(), strict=True)))
