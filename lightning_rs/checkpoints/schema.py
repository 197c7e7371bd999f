"""What the checkpoints of `train.py` must hold, as types: any misfit is one line that names its place in the file."""

from __future__ import annotations

import math
import reprlib
import sys
import warnings
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from lightning_rs.results.schema import Finite

Positive = Annotated[float, Meta(gt=0.0, le=sys.float_info.max)]
Count = Annotated[int, Meta(ge=0, le=2**53)]
Size = Annotated[int, Meta(ge=1, le=2**31 - 1)]
Classes = Annotated[int, Meta(ge=2, le=2**31 - 1)]
Name = Annotated[str, Meta(min_length=1, max_length=500)]
T = TypeVar("T")


class HyperParameters(Struct):
    """Arguments of the module, as far as every objective has them."""

    architecture: Name
    num_classes: Classes
    input_shape: tuple[Size, Size, Size]
    mean: list[Finite]
    std: list[Positive]
    sigma: Positive
    optimizer: dict[str, Any] | str = {}
    schedule: dict[str, Any] | str = {}
    noise: Name = "gaussian"
    stages: list[Name] | UnsetType = UNSET


class Facts(Struct):
    """See `lightning_rs.models.ImageFacts`."""

    num_classes: Classes
    shape: tuple[Size, Size, Size]
    mean: list[Finite]
    std: list[Positive]
    levels: Size | None = None
    classes: list[str] | None = None


class Data(Struct):
    """How the data module is made again."""

    name: Name
    init_args: dict[str, Any]
    facts: Facts | None = None  # Not in version 0.1.


class About(Struct):
    """What `train.py` says of a training."""

    objective: Name
    data: Data | None
    version: str = ""
    configs: dict[Name, dict[str, Any]] = {}  # See `lightning_rs.models.configs_of`.
    baseline: Name | None = None  # SHA-256 of its weights, see `lightning_rs.objectives.BaselineObjective`.


class Content(Struct):
    """A checkpoint from which weights can be taken."""

    state_dict: dict[str, Any]
    hyper_parameters: HyperParameters
    lightning_rs: About


def typed(path: Path, content: Any, kind: type[T]) -> T:
    """`content` as a `kind`.

    Raises:
        ValueError: something is missing, of another type or out of range.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return msgspec.convert(content, kind, strict=True)
    except (AttributeError, IndexError, TypeError):  # msgspec takes what can be indexed for a dictionary.
        raise ValueError(f"{path} is no whole checkpoint of train.py: a tensor stands for a dictionary") from None
    except (msgspec.ValidationError, OverflowError) as error:
        reason = str(error).replace("Object missing", "missing").replace("`$.", "`").replace("`$`", "the whole")
        raise ValueError(f"{path} is no whole checkpoint of train.py: {one_line(reason)}") from None


def our_content(path: Path, content: Any) -> Content:
    """The content of a checkpoint of `train.py`.

    Raises:
        ValueError: see `typed`; or an argument that is not plain.
    """
    missing = {"state_dict", "hyper_parameters"} - set(content)
    if missing:
        raise ValueError(f"{path} is not a checkpoint of train.py: it lacks {', '.join(sorted(missing))}")
    held = typed(path, content, Content)
    _check_plain(path, "hyper_parameters", content["hyper_parameters"])
    if held.lightning_rs.data is not None:
        _check_plain(path, "lightning_rs.data.init_args", held.lightning_rs.data.init_args)
    _check_plain(path, "lightning_rs.configs", held.lightning_rs.configs)
    return held


def _check_plain(path: Path, place: str, value: Any) -> None:
    """Refuse what no command line says: tensors, NaN, infinities, integers of more than 64 bits."""
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise ValueError(f"{path} is no whole checkpoint of train.py: a key of {place} is {shown(key)}")
            _check_plain(path, f"{place}.{shown(key)}", item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            _check_plain(path, place, item)
    elif not (
        value is None
        or type(value) in (bool, str)
        or (type(value) is int and -(2**63) <= value < 2**64)
        or (type(value) is float and math.isfinite(value))
    ):
        raise ValueError(f"{path} is no whole checkpoint of train.py: {place} is {shown(value)}")


def one_line(text: object, most: int = 300) -> str:
    """A text, perhaps with words from a file, as one line that a terminal prints as it is."""
    line = " ".join(str(text).split())[:most]
    return line if line.isprintable() else ascii(line)[1:-1]


def shown(value: Any) -> str:
    """A value from a file, short and in one line."""
    if value is None or type(value) in (bool, int, float, list, tuple, dict):
        return reprlib.repr(value)
    if not isinstance(value, str):
        return f"a {type(value).__name__}"
    return value if value.isprintable() and len(value) <= 80 else reprlib.repr(value)
