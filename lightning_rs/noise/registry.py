"""The distributions of noise by name."""

from __future__ import annotations

import inspect
from typing import Any

from lightning_rs.noise.base import Noise
from lightning_rs.registry import Registry, split_options


def _name(value: Any) -> str | None:
    is_one = isinstance(value, type) and issubclass(value, Noise) and not inspect.isabstract(value)
    return getattr(value, "name", None) if is_one and value.certifies else None


NOISES: Registry[type[Noise]] = Registry("noise", "lightning_rs.noise", _name, option="--noise {}")


def as_noise(noise: float | Noise, levels: int | None = None) -> Noise:
    """A noise object; a number is the short form of Gaussian noise of that standard deviation.

    Args:
        noise: the object, or the number.
        levels: with a number, the grid on which the noise is drawn; None for no grid.

    Raises:
        ValueError: a number that is not positive and finite, or levels beside an object.
    """
    if not isinstance(noise, Noise):
        return NOISES.get("gaussian")(noise) if levels is None else NOISES.get("grid_gaussian")(noise, levels)
    if levels is not None:
        raise ValueError(f"levels are for a number as sigma; {noise!r} says its own")
    return noise


def make_noise(text: str, scale: float, levels: int | None = None) -> Noise:
    """The noise that a text names, `name` or `name:option=value,option=value`, at this scale.

    The text may come from a file: the path of an own noise has to be known already, see `NOISES.load`.

    Args:
        text: name and options.
        scale: see `Noise`.
        levels: of the data; for a noise that needs levels and whose text does not say them.

    Raises:
        ValueError: an unknown name, an option that it does not take, levels that nobody says, or a scale that is not
            positive and finite.
    """
    name, options = split_options("noise", text)
    cls = NOISES.get(name)
    takes = [option for option in inspect.signature(cls).parameters if option != "scale"]
    if unknown := [option for option in options if option not in takes]:
        known = ", ".join(takes) or "no options"
        raise ValueError(f"noise {name!r} does not take {', '.join(unknown)}; it takes {known}")
    if "levels" in takes and "levels" not in options:
        if levels is None:
            raise ValueError(f"{name} noise needs the levels of the data: say them, as in {name}:levels=255")
        options = options | {"levels": levels}
    return cls(scale, **options)
