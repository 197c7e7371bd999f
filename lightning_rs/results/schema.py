"""What JSON files may hold: types with their ranges, and reading that takes nothing else."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar, get_type_hints

import msgspec
from msgspec import Meta

T = TypeVar("T")

# More draws or classes than any certification has; with them sums of counts stay within 64 bits, and exact in float64.
_MOST = 2**40
_LARGEST = sys.float_info.max

Count = Annotated[int, Meta(ge=0, le=_MOST)]
Positive = Annotated[int, Meta(ge=1, le=_MOST)]
Answer = Annotated[int, Meta(ge=-1, le=_MOST)]
"""A class, or -1 for none."""
Classes = Annotated[int, Meta(ge=2, le=10**6)]
Finite = Annotated[float, Meta(ge=-_LARGEST, le=_LARGEST)]
NotNegative = Annotated[float, Meta(ge=0.0, le=_LARGEST)]
Share = Annotated[float, Meta(ge=0.0, le=1.0)]
Word = Annotated[str, Meta(min_length=1, max_length=500, pattern=r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+\Z")]
"""Text in one line."""


def strict(cls: type, **changed: Any) -> type[msgspec.Struct]:
    """A type with the fields of a dataclass that takes no others; `changed` has other types for some of them."""
    hints = get_type_hints(cls, include_extras=True) | changed
    described = []
    for field in dataclasses.fields(cls):
        lacking = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        described.append((field.name, hints[field.name]) if lacking else (field.name, hints[field.name], msgspec.UNSET))
    return msgspec.defstruct(cls.__name__, described, forbid_unknown_fields=True, kw_only=True)


def said(struct: msgspec.Struct) -> dict[str, Any]:
    """The fields of a struct that were given."""
    return {name: value for name, value in msgspec.structs.asdict(struct).items() if value is not msgspec.UNSET}


def decode(text: bytes, kind: type[T]) -> T:
    """The value in a JSON text, of exactly this type.

    Raises:
        ValueError: no JSON, infinite numbers, keys that stand there twice, or another type; in one line.
    """
    try:
        value = msgspec.json.decode(text, type=kind, strict=True)
        _ONCE.decode(text.decode())
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except ValueError as error:
        raise ValueError(short(str(error))) from None
    return value


def check(values: Mapping[str, Any], kind: type) -> None:
    """Refuse values that a type does not take.

    Raises:
        ValueError: names the first of them.
    """
    try:
        msgspec.convert(values, type=kind, strict=True)
    except ValueError as error:
        raise ValueError(short(str(error))) from None


def short(text: str) -> str:
    """A message in one line, from which a long value that it repeats is cut."""
    text = " ".join(text.split())
    return text if len(text) <= 300 else f"{text[:200]} ... {text[-100:]}"


def _refuse_twice(pairs: list[tuple[str, Any]]) -> None:
    if len(dict(pairs)) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)!r} stands there twice")


_ONCE = json.JSONDecoder(object_pairs_hook=_refuse_twice)
