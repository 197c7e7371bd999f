"""Configuration files that build on others, which their top-level key `base` names."""

from __future__ import annotations

import os
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import yaml


def config_layers(path: str | Path) -> dict[Path, dict[str, Any]]:
    """A configuration file and all that it builds on, lowest layer first, each once: absolute path to content.

    `base` is a path or a list of paths, relative to the file that says it. Later ones win over earlier ones, the file
    over its bases. The contents are as in the files, `base` included.

    Raises:
        ValueError: for a base that is no file, a circle of bases, and content that is not a YAML mapping.
    """
    layers: dict[Path, dict[str, Any]] = {}
    _add_layers(Path(path).resolve(), (), layers)
    return layers


def _add_layers(path: Path, above: tuple[Path, ...], layers: dict[Path, dict[str, Any]]) -> None:
    if path in above:
        circle = " -> ".join(map(str, (*above, path)))
        raise ValueError(f"configuration files build on each other in a circle: {circle}")
    if path in layers:
        return
    if not path.is_file():
        raise ValueError(f"{above[-1] if above else 'the command'} builds on {path}, which is no file")
    try:
        content = yaml.safe_load(path.read_text()) or {}
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    bases = content.get("base", []) if isinstance(content, dict) else None
    bases = [bases] if isinstance(bases, str) else bases
    if not isinstance(bases, list) or not all(isinstance(base, str) for base in bases):
        raise ValueError(f"{path}: expected a mapping whose base is a path or a list of paths, got {content!r:.80}")
    for base in bases:
        _add_layers((path.parent / base).resolve(), (*above, path), layers)
    layers[path] = content


def merge_configs(contents: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """One mapping of several without their `base`: later values win, mappings are merged key by key."""
    merged: dict[str, Any] = {}
    for content in contents:
        for key, value in content.items():
            both = isinstance(value, dict) and isinstance(merged.get(key), dict)
            merged[key] = merge_configs((merged[key], value)) if both else value
    merged.pop("base", None)
    return merged


def expand_config_options(arguments: Iterable[str]) -> list[str]:
    """Command-line arguments in which every `--config FILE` comes after one `--config` for each of its bases.

    A base that stands already before is not applied again, lest it undo what came after it.

    Raises:
        ValueError: as `config_layers`.
    """
    expanded: list[str] = []
    applied: set[Path] = set()
    rest = iter(arguments)
    for argument in rest:
        option, equals, value = argument.partition("=")
        if option not in ("--config", "-c"):
            expanded.append(argument)
            continue
        given = [argument] if equals else [argument, *islice(rest, 1)]
        if not os.path.isfile(value or given[-1]):  # Missing, or the configuration itself: the parser's to judge.
            expanded += given
            continue
        layers = config_layers(value or given[-1])
        *bases, own = layers
        new = [path for path in bases if path not in applied] + [own]
        applied.update(new)
        # The parser knows no key `base`, so a file that has one is given by its content.
        merged = merge_configs(layers[path] for path in new)
        expanded += [f"--config={yaml.safe_dump(merged)}"] if "base" in layers[own] else [f"--config={own}"]
    return expanded
