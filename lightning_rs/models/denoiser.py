"""A denoiser in front of the classifier: noisy images in, estimates of the clean ones out.

What is certified is the two together, under noise that is added before both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from lightning_rs.models.diffusion import diffusion_denoiser, read_diffusion
from lightning_rs.models.images import ImageFacts
from lightning_rs.models.stage import Stage, check_builds
from lightning_rs.registry import Registry

_DIFFUSION = "diffusion/"


@dataclass(frozen=True)
class Denoiser:
    """A net that estimates images from noisy ones.

    Attributes:
        name: what users call it.
        build: `build(images, **options)` -> module, where `images` are the `ImageFacts`: (rows, *shape) noisy images
            with pixels in [0, 1] before the noise in, as many estimates out. A module that depends on the noise has
            a method `set_sigma`, see `lightning_rs.models.set_sigma`.
    """

    name: str
    build: Callable[..., nn.Module]


def _adopt(path: str, value: Any) -> Denoiser:
    if isinstance(value, Denoiser):
        return value
    check_builds(path, value, "denoiser: it must map the facts about the images to a module")
    return Denoiser(path, value)


DENOISERS: Registry[Denoiser] = Registry(
    "denoiser",
    "lightning_rs.models",
    lambda value: value.name if isinstance(value, Denoiser) else None,
    "--denoiser {0} to train.py, --stages '[denoiser:net={0}]' to certify.py",
    _adopt,
)
"""Denoisers by name. A user's own may be any callable from `ImageFacts` and options to a module, by its path."""


def denoiser_stage(spec: str) -> str:
    """The stage with the denoiser that a user calls `spec`: `NAME` or `NAME,option=value,option=value`."""
    return f"{DENOISER.name}:net={spec}"


def load_denoiser(net: str) -> None:
    """Import or read the denoiser that a user, not a file, calls by its path or place: it is then known.

    Args:
        net: a name or a path in `DENOISERS`, or `diffusion/PLACE`: a folder or a name on the hub.

    Raises:
        ValueError, OSError: a path or a place that leads nowhere, or to something else.
    """
    if net.startswith(_DIFFUSION):
        DENOISERS.enter(net, Denoiser(net, read_diffusion(net.removeprefix(_DIFFUSION))))
    else:
        DENOISERS.load(net)


def _build(images: ImageFacts, net: str, config: Mapping[str, Any] | None = None, **options: Any) -> nn.Module:
    if net.startswith(_DIFFUSION) and config is not None:
        return diffusion_denoiser(images, config, **options)
    if net.startswith(_DIFFUSION) and net not in DENOISERS:
        raise ValueError(f"what only a file names is never read: if {net} is yours, give --denoiser {net}")
    return DENOISERS.get(net).build(images, **options)


DENOISER = Stage("denoiser", _build)
