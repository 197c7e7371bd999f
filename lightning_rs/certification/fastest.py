"""The fastest settings known for a device: what `--fast` chooses."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from typing import Any

import torch

from lightning_rs.certification.examples import Certification
from lightning_rs.smoothing import Preparation
from lightning_rs.smoothing.execution import has_bfloat16

FAST = (*(field.name for field in dataclasses.fields(Preparation)), "batch_size")
"""The settings that are chosen."""

# A preparation is tried on so many noisy copies.
_ROWS = 4


def fastest(certification: Certification, given: Collection[str] = ()) -> Certification:
    """The certification with the fastest settings for its device, where none are given and the classifier bears them.

    They are known, not timed: the same command on the same machine is the same run, and goes on where it stopped. What
    is certified is the classifier as it then runs.

    Args:
        certification: with its base classifier on the device.
        given: names of settings that stay.

    Raises:
        ValueError: a first image that cannot be read.
    """
    image = certification.image(certification.indices[0])[0].to(certification.device)
    for name, value in _known(certification.device).items():
        if name in given:
            continue
        try:
            tried = _with(certification, **{name: value})
            tried.settings.preparation.check(tried.device, tried.base_classifier)
            # To compile takes minutes, and is done for whole batches.
            _with(tried, compile=False, batch_size=_ROWS).prepared(image)
        except ValueError:
            continue
        certification = tried
    return certification


def told_settings(certification: Certification) -> str:
    """The chosen settings, in one line."""
    values = {name: getattr(certification.settings, name) for name in FAST}
    return ", ".join(f"{name} {str(value).lower()}" for name, value in values.items())


def _known(device: torch.device) -> dict[str, Any]:
    """What is faster on the device than the defaults: docs/performance.md has the measurements."""
    return {
        "precision": "bfloat16" if has_bfloat16(device) else "float32",
        "channels_last": True,
        "fold_batch_norm": True,
        "compile": device.type == "cuda",
        "batch_size": "auto",
    }


def _with(certification: Certification, **settings: Any) -> Certification:
    return dataclasses.replace(certification, settings=dataclasses.replace(certification.settings, **settings))
