"""The data set on the command line: `--data NAME`, `--data NAME:key=value,key=value` and `--data.KEY VALUE`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import islice

from lightning_rs.registry import split_words

_OPTION = "--data"


def expand_data_options(arguments: Sequence[str]) -> list[str]:
    """Arguments in which `--data NAME:key=value` is said as `--data=NAME --data.key=value`.

    Raises:
        ValueError: a text of another form.
    """
    expanded: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        option, equals, value = argument.partition("=")
        given = [argument]
        if option == _OPTION and not equals:
            given += (following := [*islice(rest, 1)])
            value = following[0] if following else ""
        if option == _OPTION and ":" in value:
            name, words = split_words("data set", value)
            given = [f"{_OPTION}={name}", *(f"{_OPTION}.{key}={word}" for key, word in words.items())]
        expanded += given
    return expanded


def gather_data_options(arguments: Sequence[str]) -> list[str]:
    """The same, with all `--data.KEY VALUE` gathered in one `--data_args`: which keys there are, the data set says.

    Raises:
        ValueError: as `expand_data_options`; or a key without a value.
    """
    others: list[str] = []
    gathered: dict[str, str] = {}
    rest = iter(expand_data_options(arguments))
    for argument in rest:
        option, equals, value = argument.partition("=")
        if not option.startswith(f"{_OPTION}."):
            others.append(argument)
            continue
        if not equals and not (following := [*islice(rest, 1)]):
            raise ValueError(f"{option} expects a value")
        gathered[option.removeprefix(f"{_OPTION}.")] = value if equals else following[0]
    return [*others, f"--data_args={json.dumps(gathered)}"] if gathered else others
