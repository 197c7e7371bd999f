"""The state of all global random generators in tensors and plain values, and streams of their own beside it."""

from __future__ import annotations

import random
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import Any

import numpy as np
import torch


def random_state() -> dict[str, Any]:
    """The states of Python's, NumPy's and PyTorch's global generators, that of the current GPU included."""
    kind, keys, position, has_gauss, gauss = np.random.get_state()  # noqa: NPY002
    return {
        "python": random.getstate(),
        "numpy": (kind, torch.from_numpy(keys.astype(np.int64)), position, has_gauss, gauss),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
    }


def set_random_state(state: dict[str, Any]) -> None:
    """Bring the generators into a `state` that `random_state` returned."""
    version, internal, gauss_next = state["python"]
    random.setstate((version, tuple(internal), gauss_next))
    kind, keys, *rest = state["numpy"]
    np.random.set_state((kind, keys.cpu().numpy().astype(np.uint32), *rest))  # noqa: NPY002
    torch.set_rng_state(state["torch"].cpu())
    if state["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"].cpu())


class OwnRandomness:
    """Inside it, the global generators are a stream of their own; outside, they are as if nobody had drawn from them.

    The stream begins at the system's entropy and goes on where it was left. A context manager, to be entered as often
    as wanted.

    Args:
        device: the GPU whose generator is meant, if it is one.

    Attributes:
        state: of the stream, see `random_state`; None before it begins.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device if device.type == "cuda" else None
        self.state: dict[str, Any] | None = None

    def __enter__(self) -> None:
        with self._on_device():
            self._outside = random_state()
            if self.state is not None:
                set_random_state(self.state)
                return
            random.seed()
            np.random.seed()  # noqa: NPY002 - it is the global generator that is meant.
            torch.default_generator.seed()
            if self._device is not None:
                torch.cuda.seed()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._on_device():
            self.state = random_state()
            set_random_state(self._outside)

    def _on_device(self) -> AbstractContextManager[object]:
        return nullcontext() if self._device is None else torch.cuda.device(self._device)
