"""A denoiser in front of the classifier: noisy images in, estimates of the clean ones out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from lightning_rs.checks import check_known
from lightning_rs.models.dncnn import dncnn
from lightning_rs.models.images import ImageFacts
from lightning_rs.models.stage import Stage
from lightning_rs.models.unet import unet

DENOISERS: dict[str, Callable[..., nn.Module]] = {"dncnn": dncnn, "unet": unet}
"""Nets that are trained as denoisers, by name: (rows, *shape) noisy images in, as many estimates in [0, 1] out."""


def _build(images: ImageFacts, net: str, **options: Any) -> nn.Module:
    check_known("denoiser", net, DENOISERS)
    return DENOISERS[net](images, **options)


DENOISER = Stage("denoiser", _build)
