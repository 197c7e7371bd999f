"""What sampling holds in memory, and whether a machine has as much: known before any work."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch

from lightning_rs.checks import shown
from lightning_rs.smoothing.batches import Batcher
from lightning_rs.smoothing.gradient_tally import GRADIENT_FIELDS
from lightning_rs.smoothing.plan import Plan, RowKind

# Bytes a draw that a bound on single scores takes at its work: 90 for betting, as measured.
_BOUND = 90

# Bytes, more than any GPU has.
_MOST_OF_A_GPU = 2**39

# What PyTorch and the libraries that it calls say where they have no exception of their own for it.
_OUT_OF_MEMORY = (
    "can't allocate memory",
    "not enough memory",
    "out of memory",
    "std::bad_alloc",
    "ALLOC_FAILED",
    "Failed to allocate memory",  # ONNX Runtime's.
)


def check_capacity(
    plan: Plan,
    batch_size: int,
    num_classes: int,
    shape: Sequence[int],
    dtype: torch.dtype,
    device: torch.device | None = None,
) -> None:
    """Refuse to sample what memory does not hold, the base classifier's own needs aside.

    Args:
        plan: the draws of every example.
        batch_size: rows of a batch.
        num_classes: number of classes.
        shape, dtype: of one input.
        device: where it would be held; when left out wherever on this machine there is most room, as far as is known.

    Raises:
        ValueError: says what needs how much, how much there is, and what to change.
    """
    n, examples = plan.looks[-1], Batcher.slots_needed(plan, batch_size) + 1
    buffers = 4 if GRADIENT_FIELDS & plan.fields else 2
    needs = {
        f"a batch of {shown(batch_size)} rows of shape {tuple(shape)}: take a smaller batch_size": (
            batch_size * (buffers * math.prod(shape) * dtype.itemsize + 24)
        ),
        f"the votes for {shown(num_classes)} classes": examples * len(RowKind) * (num_classes + 1) * 8,
        f"a bound on {n} single scores: take a smaller n or another bound": (
            n * (4 * examples + _BOUND) if "scores" in plan.fields else 0
        ),
    }
    needed, available = sum(needs.values()), available_memory(device)
    if needed > available:
        raise ValueError(
            f"not enough memory: {shown(needed >> 20)} MiB are needed and {int(available) >> 20} MiB are available, "
            f"most of all for {max(needs, key=lambda name: needs[name])}"
        )


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory was not enough."""
    if isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(phrase in str(error) for phrase in _OUT_OF_MEMORY)


def first_line(error: BaseException) -> str:
    """An error in one line: its kind, and the first line of what it says."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__


def available_memory(device: torch.device | None) -> float:
    """Bytes that a device has left; infinitely many if the system does not say."""
    if device is None:
        # To ask a GPU would begin its use in this process, which may have to fork yet.
        return max(available_memory(torch.device("cpu")), _MOST_OF_A_GPU if torch.cuda.device_count() else 0)
    if device.type == "cuda":
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + cached
    if device.type != "cpu":
        return math.inf
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return math.inf
    return next((1024 * float(line.split()[1]) for line in lines if line.startswith("MemAvailable:")), math.inf)
