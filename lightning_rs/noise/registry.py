"""The distributions of noise by name."""

from __future__ import annotations

import inspect
from typing import Any

from lightning_rs.noise.base import Noise
from lightning_rs.registry import Registry, split_options


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


def make_noise(text: str, scale: float) -> Noise:
    """The noise that a text names, `name` or `name:option=value,option=value`, at this scale.

    The text may come from a file: the path of an own noise has to be known already, see `NOISES.load`.

    Raises:
        ValueError: an unknown name, an option that it does not take, or a scale that is not positive and finite.
    """
    name, options = split_options("noise", text)
    try:
        return NOISES.get(name)(scale, **options)
    except TypeError as error:
        raise ValueError(f"noise {name!r} does not take the options {options}: {error}") from None
