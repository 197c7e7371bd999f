"""The mechanisms by name, and how a user names one with its options."""

from __future__ import annotations

import inspect
from typing import Any

from lightning_rs.mechanisms.base import Mechanism
from lightning_rs.registry import Registry, join_options, split_options


def _name(value: Any) -> str | None:
    """The name of a mechanism's class; abstract ones have none."""
    is_one = isinstance(value, type) and issubclass(value, Mechanism) and not inspect.isabstract(value)
    return getattr(value, "name", None) if is_one else None


MECHANISMS: Registry[type[Mechanism]] = Registry(
    "mechanism", "lightning_rs.mechanisms", _name, option="--mechanisms '[{}]'"
)


def list_mechanisms() -> list[str]:
    """Names of all mechanisms, sorted."""
    return sorted(MECHANISMS)


def get_mechanism(name: str, **options: Any) -> Mechanism:
    """The mechanism of that name, with its options.

    Raises:
        ValueError: an unknown name (the error lists the known ones), or an option that the mechanism does not take or
            that is out of its range.
    """
    cls = MECHANISMS.get(name)
    try:
        mechanism = cls(**options)
    except TypeError as error:
        raise ValueError(f"mechanism {name!r} does not take the options {options}: {error}") from None
    mechanism.label = join_options(name, options)
    return mechanism


def parse_mechanism(text: str) -> Mechanism:
    """The mechanism that a text names: `name` or `name:option=value,option=value`, as in `kumar_score:confidence=0.7`.

    Values are numbers where they can be read as such, otherwise words. The text may come from a file: the path of an
    own mechanism has to be known already, see `load_mechanism`.

    Raises:
        ValueError: as `get_mechanism`, or a text of another form.
    """
    name, options = split_options("mechanism", text)
    return get_mechanism(name, **options)


def load_mechanism(text: str) -> Mechanism:
    """The mechanism that a user's text names: as `parse_mechanism`, but the path of an own mechanism is imported."""
    MECHANISMS.load(text.partition(":")[0])
    return parse_mechanism(text)
