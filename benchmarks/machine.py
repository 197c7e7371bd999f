"""The machine that is measured on: its name, its speed, and the most that it could do of a net's work.

python benchmarks/machine.py FOLDER                    writes there what it is, as about.json and about.md
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from jsonargparse import auto_cli
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from lightning_rs.files import write_whole


def processor() -> str:
    """Its name, where the system tells."""
    if not os.path.exists("/proc/cpuinfo"):
        return platform.processor() or platform.machine()
    with open("/proc/cpuinfo") as file:
        names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def described(device: torch.device) -> str:
    """What stands above a table: the device and the versions."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{processor()} CPU"
    threads = torch.get_num_threads()
    return f"{name}, {threads} threads, torch {torch.__version__}, Python {platform.python_version()}"


def best_time(call: Callable[[], object], device: torch.device, repeats: int = 5) -> float:
    """Seconds of the fastest of several calls, after one that warms up."""

    def once() -> float:
        start = time.perf_counter()
        call()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - start

    once()
    return min(once() for _ in range(repeats))


@dataclass(frozen=True)
class Speed:
    """Operations a second of a large matrix product, and bytes a second that a large copy reads and writes."""

    arithmetic: float
    memory: float


def speed_of(device: torch.device, dtype: torch.dtype) -> Speed:
    """Measure a device, for products of a type."""
    on_cuda = device.type == "cuda"
    size = 8192 if on_cuda else 2048
    a = torch.randn(size, size, device=device).to(dtype)
    source = torch.randn(2**28 if on_cuda else 2**25, device=device)
    target = torch.empty_like(source)
    return Speed(
        2 * size**3 / best_time(lambda: a @ a, device),
        2 * source.numel() * 4 / best_time(lambda: target.copy_(source), device),
    )


@dataclass(frozen=True)
class Work:
    """Operations, and numbers that are read and written at least."""

    operations: float
    numbers: float


def work_of(classifier: nn.Module, call: Callable[[], object]) -> Work:
    """What the passes of a classifier take that a call makes.

    Forward, a layer reads its inputs and writes its outputs. Backward, if there is a gradient, it reads that of its
    outputs and its inputs, and writes that of its inputs.
    """
    numbers = 0

    def count(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal numbers
        numbers += inputs[0].numel() + output.numel()
        if output.requires_grad:
            numbers += output.numel() + 2 * inputs[0].numel()

    hooks = [m.register_forward_hook(count) for m in classifier.modules() if not list(m.children())]
    with FlopCounterMode(display=False) as counter:
        call()
    for hook in hooks:
        hook.remove()
    return Work(counter.get_total_flops(), numbers)


def ceiling(work: Work, speed: Speed, dtype: torch.dtype) -> tuple[float, str]:
    """How often a second the device could do the work at most, and what binds."""
    times = {
        "arithmetic": work.operations / speed.arithmetic,
        "memory": work.numbers * dtype.itemsize / speed.memory,
    }
    binding = max(times, key=times.__getitem__)
    return 1.0 / times[binding], binding


def about(folder: str) -> None:
    """Write what the machine is, and print it.

    Args:
        folder: that gets `about.json` and `about.md`.
    """
    facts = {"processor": processor(), "gpu": None, "driver": None, "torch": torch.__version__}
    facts |= {"cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version(), "python": platform.python_version()}
    if torch.cuda.is_available():
        query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        if shutil.which(query[0]):
            said = subprocess.run(query, capture_output=True, text=True, check=False).stdout
            facts["driver"] = said.partition("\n")[0]
        facts |= {"gpu": torch.cuda.get_device_name(), "gpus": torch.cuda.device_count()}
    line = ", ".join(f"{name} {value}" for name, value in facts.items())
    write_whole(Path(folder) / "about.json", json.dumps(facts, indent=1) + "\n")
    write_whole(Path(folder) / "about.md", line + "\n")
    print(line)


if __name__ == "__main__":
    auto_cli(about)
