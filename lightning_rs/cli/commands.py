"""Subcommands of certify.py: each file of this package that defines a function of its own name is one."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Sequence

from docstring_parser import parse

from lightning_rs.checks import check_known
from lightning_rs.cli.data_options import gather_data_options
from lightning_rs.cli.exits import CertifyParser, clean_exit
from lightning_rs.cli.plugins import plug_in


def list_commands() -> dict[str, Callable[..., None]]:
    """The subcommands by name."""
    folder = importlib.import_module("lightning_rs.cli").__path__
    modules = (importlib.import_module(f"lightning_rs.cli.{info.name}") for info in pkgutil.iter_modules(folder))
    named = ((module.__name__.rpartition(".")[2], module) for module in modules)
    return {name: getattr(module, name) for name, module in named if inspect.isfunction(getattr(module, name, None))}


def run_command(arguments: Sequence[str]) -> None:
    """Run the subcommand that the first argument names with the others.

    Parameters without a default are given by position, a list of them as several words; the others are options, and
    flags where they are False if left out. `--data.KEY VALUE` is gathered for one that takes `data_args`. Every
    subcommand takes `--plugins`, and ends in one line where it raises `ValueError` or `OSError`.
    """
    with clean_exit():
        commands = list_commands()
        function = commands[check_known("command", arguments[0], commands)]
    about = parse(function.__doc__ or "")
    parser = CertifyParser(prog=f"certify.py {arguments[0]}", description=about.short_description)
    parameters = inspect.signature(function, eval_str=True).parameters.values()
    # Others than these the parser finds where they lead: those of settings in the settings' class.
    parameters = [p for p in parameters if p.kind is not p.VAR_KEYWORD]
    positional = {p.name: p.annotation for p in parameters if p.default is p.empty}
    helps = {p.arg_name: p.description for p in about.params}
    for name, kind in positional.items():
        several = {"nargs": "+"} if kind == list[str] else {}
        parser.add_argument(name, type=str if several else kind, help=helps.get(name), **several)
    flags = {p.name for p in parameters if p.default is False}
    for name in flags:
        parser.add_argument(f"--{name}", action="store_true", help=helps.get(name))
    parser.add_function_arguments(function, skip={*positional, *flags}, as_group=False)
    parser.add_argument("--plugins", type=list[str] | str | None, help="Modules that define a user's own objects.")
    with clean_exit():
        words = gather_data_options(arguments[1:]) if "data_args" in {p.name for p in parameters} else arguments[1:]
    options = parser.parse_args(list(words)).as_dict()
    with clean_exit():
        plug_in(options.pop("plugins"))
        function(**options)
