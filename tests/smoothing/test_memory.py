"""Memory as the operating system sees it: freed pages stay with the process inside, and go back afterwards."""

import ctypes
import resource
import sys

import pytest
import torch

from lightning_rs.smoothing.memory import keep_freed_memory

CPU = torch.device("cpu")
SIZE = 16 * 2**20  # Large enough that glibc returns it at once by default.


def with_glibc():
    try:
        return sys.platform.startswith("linux") and hasattr(ctypes.CDLL("libc.so.6"), "malloc_trim")
    except OSError:
        return False


told = pytest.mark.skipif(not with_glibc(), reason="only glibc can be told, and only Linux shows the pages")


def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def kept_after_use():
    """Bytes that stay with the process when a block was filled and freed."""
    before = resident()
    block = torch.ones(SIZE, dtype=torch.uint8)
    assert resident() - before > 0.9 * SIZE
    del block
    return resident() - before


@told
def test_freed_memory_is_kept_inside_and_returned_after():
    with keep_freed_memory(CPU):
        pass
    outside = resident()
    assert kept_after_use() < 0.1 * SIZE
    with keep_freed_memory(CPU):
        assert kept_after_use() > 0.9 * SIZE
        assert resident() - outside > 0.9 * SIZE
    assert resident() - outside < 0.1 * SIZE
    assert kept_after_use() < 0.1 * SIZE


@told
def test_memory_is_returned_after_an_error():
    outside = resident()
    with pytest.raises(KeyError), keep_freed_memory(CPU):
        kept_after_use()
        raise KeyError
    assert resident() - outside < 0.1 * SIZE


@told
def test_nothing_is_changed_for_other_devices():
    """Their allocators keep memory by themselves; a CPU's freed memory goes back at once as before."""
    with keep_freed_memory(CPU):
        pass
    with keep_freed_memory(torch.device("cuda", 0)):
        assert kept_after_use() < 0.1 * SIZE
