"""Keep freed host memory for the next batch."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

import torch

# Parameters of glibc's mallopt, and its default for both thresholds.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _DEFAULT = -1, -3, 128 * 1024

_lock, _inside = Lock(), 0  # The settings are those of the whole process: how many contexts want them.


@contextmanager
def keep_freed_memory(device: torch.device) -> Iterator[None]:
    """On a CPU, within this context, the C library keeps freed memory instead of returning it to the system.

    By default glibc returns every large block at once, and the operating system clears its pages anew for the next
    batch's activations: on a CPU that takes up to half of the time of a forward pass. After the last of such contexts,
    which may lie in one another and in several threads, all free memory is returned and the library's defaults hold.
    Without glibc, and on other devices, which have allocators that keep memory, it does nothing.
    """
    global _inside
    if device.type != "cpu":
        yield
        return
    try:
        mallopt, malloc_trim = (getattr(ctypes.CDLL("libc.so.6"), name) for name in ("mallopt", "malloc_trim"))
    except (OSError, AttributeError):
        yield
        return
    with _lock:
        _inside += 1
        mallopt(_MMAP_THRESHOLD, 2**30)
        mallopt(_TRIM_THRESHOLD, 2**31 - 1)
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside:
                mallopt(_MMAP_THRESHOLD, _DEFAULT)
                mallopt(_TRIM_THRESHOLD, _DEFAULT)
                malloc_trim(0)
