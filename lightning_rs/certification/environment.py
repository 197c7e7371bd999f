"""Where and with what this process certifies."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy
import scipy
import torch
from torch import nn

import lightning_rs
from lightning_rs.results import Environment


def environment_of(classifier: nn.Module, device: torch.device, batch_size: int | None) -> Environment:
    """The environment of a base classifier that is run here, in batches of this size if it is known."""
    return Environment(
        device=device_name(device),
        driver=driver(device),
        batch_size=batch_size,
        versions={m.__name__: m.__version__ for m in (lightning_rs, torch, numpy, scipy)} | _runtimes(classifier),
        commit=commit(),
    )


def device_name(device: torch.device) -> str:
    """What a device is called in results: kinds of devices draw different noise, see `lightning_rs.noise`."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def driver(device: torch.device) -> str | None:
    """Version of a GPU's driver; None of a CPU, or if nothing tells it."""
    if device.type != "cuda":
        return None
    said = _said(["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"])
    return said and said.splitlines()[0].strip()  # One line for each GPU of the machine, whose driver is one.


def commit() -> str | None:
    """The commit of this package's own checkout; None if it was installed otherwise."""
    root = Path(lightning_rs.__file__).resolve().parent.parent
    return _said(["git", "rev-parse", "HEAD"], root) if (root / ".git").exists() else None


def _runtimes(classifier: nn.Module) -> dict[str, str]:
    """Versions of what runs modules in the place of torch, which a module says in `runtime`: name and version."""
    said = (getattr(module, "runtime", None) for module in classifier.modules())
    return dict(runtime for runtime in said if isinstance(runtime, tuple))


def _said(command: Sequence[str], folder: Path | None = None) -> str | None:
    """What a program prints; None if it is not there, or fails."""
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None
