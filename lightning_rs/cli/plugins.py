"""A user's own modules: found in the working directory, imported when the user names them."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

from lightning_rs.registry import Registry, import_users_module

_REGISTRIES = (
    ("lightning_rs.models", "ARCHITECTURES"),
    ("lightning_rs.models", "STAGES"),
    ("lightning_rs.data", "DATASETS"),
    ("lightning_rs.objectives", "OBJECTIVES"),
    ("lightning_rs.mechanisms", "MECHANISMS"),
    ("lightning_rs.noise", "NOISES"),
)


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
    for room, name in _REGISTRIES:
        registry = getattr(importlib.import_module(room), name, None)
        if isinstance(registry, Registry):
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
    """
    said = [content.get(option) for content in configs]
    said += [yaml.safe_load(value) for value in words_after(f"--{option}", arguments)]
    return next((value for value in reversed(said) if value is not None), None)


def words_after(option: str, arguments: Sequence[str]) -> list[str]:
    """The values that a command line gives to an option, as `--option value` or `--option=value`, in order."""
    return [
        value if given == option else given.partition("=")[2]
        for given, value in pairwise([*arguments, ""])
        if given == option or given.startswith(f"{option}=")
    ]
