"""A user's own modules: found in the working directory, imported when the user names them."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

from lightning_rs.data import DATASETS
from lightning_rs.mechanisms import MECHANISMS
from lightning_rs.models import ARCHITECTURES, DENOISERS, STAGES
from lightning_rs.noise import NOISES
from lightning_rs.objectives import OBJECTIVES
from lightning_rs.registry import import_users_module

_REGISTRIES = (ARCHITECTURES, STAGES, DENOISERS, DATASETS, OBJECTIVES, MECHANISMS, NOISES)


def plug_in(names: str | Sequence[str] | None = None) -> None:
    """Import modules that the user named, and enter what they define in all registries.

    The working directory is looked in last, so that nothing in it hides an installed module. All of ours are read too:
    the command line knows the classes that are imported.

    Args:
        names: of modules, such as `my_package`; one, several, or none.

    Raises:
        ValueError: a module that is not there or fails, or defines a name that is taken.
    """
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    modules = [import_users_module(name) for name in ([names] if isinstance(names, str) else names or ())]
    for registry in _REGISTRIES:
        len(registry)  # Reads ours.
        for module in modules:
            registry.plug_in(module)


def told(option: str, arguments: Sequence[str], configs: Iterable[Mapping[str, Any]] = ()) -> Any:
    """What the user says of an option before the command line is parsed: there, or else in the last file that says it.

    Args:
        option: its name, without dashes.
        arguments: the command line.
        configs: contents of configuration files in the order in which they are read.

    Returns:
        The value, read as YAML; None if it is not given.

    Raises:
        ValueError: a value that is not YAML.
    """
    said = [content.get(option) for content in configs]
    try:
        said += [yaml.safe_load(value) for value in words_after(arguments, f"--{option}")]
    except yaml.YAMLError as error:
        raise ValueError(f"--{option} is not YAML: {' '.join(str(error).split())}") from None
    return next((value for value in reversed(said) if value is not None), None)


def words_after(arguments: Sequence[str], *options: str) -> list[str]:
    """The values that a command line gives to an option, as `--option value` or `--option=value`, in order."""
    return [
        value if given in options else given.partition("=")[2]
        for given, value in pairwise([*arguments, ""])
        if given.partition("=")[0] in options
    ]
