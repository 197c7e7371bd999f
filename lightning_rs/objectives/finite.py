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
        self._names: list[str] = []
        self._step: Tensor | None = None
        self._values: Tensor | None = None

    def note(self, step: int, loss: Tensor, parts: Mapping[str, Tensor]) -> None:
        """Keep the step and the parts of its loss if this is the first one that is not finite."""
        values = torch.stack([part.detach() for part in parts.values()])
        if self._step is None or self._step.device != loss.device:
            self._step, self._values = torch.full((), -1, device=loss.device), values
        first = (self._step < 0) & ~torch.isfinite(loss.detach())
        self._names = list(parts)
        self._step = torch.where(first, step, self._step)
        self._values = torch.where(first, values, self._values)

    def due(self, batch: int) -> bool:
        """Whether to look after this batch of an epoch, counted from 0; there must be a note."""
        return self._step.device.type == "cpu" or (batch + 1) % STEPS_BETWEEN_LOOKS == 0

    def look(self) -> NotFinite | None:
        """What was noted; None if all losses were finite."""
        if self._step is None or (step := int(self._step)) < 0:
            return None
        return NotFinite(step, dict(zip(self._names, self._values.tolist(), strict=True)))
