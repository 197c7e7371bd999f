"""The fastest settings known for a training on this machine: what `train.py --fast` chooses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pkgutil import resolve_name
from typing import Any

import torch
from jsonargparse import Namespace

from lightning_rs.data import CIFAR10, MNIST, Digits
from lightning_rs.objectives import DenoiserObjective
from lightning_rs.smoothing.execution import has_bfloat16

# They fit everywhere. Others may not, or take long to read before the first step.
_SMALL = (Digits, MNIST, CIFAR10)


def fastest_training(config: Namespace) -> dict[str, Any]:
    """What is faster than the defaults, as the content of a configuration file that stands before the user's own.

    Known, not timed: the same command on the same machine trains in the same way.

    Args:
        config: of the training, with all defaults.

    Raises:
        ValueError: a run that is resumed.
    """
    if config.resume:
        raise ValueError("a run that is resumed goes on as it was begun: leave --fast out")
    device = _device(str(config.trainer.accelerator))
    model, data = (resolve_name(config[part].class_path) for part in ("model", "data"))
    half = has_bfloat16(device)
    fast: dict[str, Any] = {"trainer": {"precision": "bf16-mixed" if half else "32-true"}}
    for callback in ("live_certification", "certification"):
        fast[callback] = {"precision": "bfloat16" if half else "float32", "channels_last": True}
    # Classes of a user's own may take neither.
    if "engine" in config.model.init_args:
        compiles = device.type == "cuda" and not issubclass(model, DenoiserObjective)
        engine = {"channels_last": True, "compile": compiles}
        fast["model"] = {"class_path": config.model.class_path, "init_args": {"engine": engine}}
    if "on_device" in config.data.init_args and issubclass(data, _SMALL):
        fast["data"] = {"class_path": config.data.class_path, "init_args": {"on_device": True}}
    return fast


def told_training(fast: Mapping[str, Any], config: Namespace) -> str:
    """What became of the settings that were chosen, where the user gave others, in one line."""
    told = {key.replace(".init_args", ""): config[key] for key in _keys(fast)}
    return ", ".join(f"{name} {str(value).lower()}" for name, value in told.items())


def _keys(settings: Mapping[str, Any], above: str = "") -> Iterator[str]:
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _keys(value, f"{above}{name}.")
        elif name != "class_path":
            yield above + name


def _device(accelerator: str) -> torch.device:
    on_cuda = accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()
    return torch.device("cuda" if on_cuda else "cpu")
