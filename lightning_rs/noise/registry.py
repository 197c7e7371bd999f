"""The distributions of noise by name."""

from __future__ import annotations

import inspect
from typing import Any

from lightning_rs.noise.base import Noise
from lightning_rs.registry import Registry


def _name(value: Any) -> str | None:
    is_one = isinstance(value, type) and issubclass(value, Noise) and not inspect.isabstract(value)
    return getattr(value, "name", None) if is_one else None


NOISES: Registry[type[Noise]] = Registry("noise", "lightning_rs.noise", _name, option="--noise {}")


def as_noise(noise: float | Noise) -> Noise:
    """A noise object; a number is the short form of Gaussian noise of that standard deviation.

    Raises:
        ValueError: a number that is not positive and finite.
    """
    return noise if isinstance(noise, Noise) else NOISES.get("gaussian")(noise)
