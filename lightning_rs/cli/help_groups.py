"""The options of certify.py in groups: the one table of what stands where in its help, and how values are called."""

from __future__ import annotations

from argparse import Action
from textwrap import fill
from typing import Any

from docstring_parser import parse

from lightning_rs.cli.commands import list_commands
from lightning_rs.cli.exits import CertifyParser

GROUPS: dict[str, dict[str, str | None]] = {
    "what is certified": {
        "checkpoint": "FILE",
        "arch": "NAME",
        "weights": "NAME",
        "normalization": "NAME|MEAN/STD",
        "denoiser": "diffusion/PLACE|FILE",
        "stages": "[PATH, ...]",
        "plugins": "[MODULE, ...]",
        "stochastic": None,
        "like": "FOLDER",
        "like_checkpoint": "FILE",
    },
    "on which images": {
        "data": "NAME",
        "data_args": "{KEY: VALUE, ...}",
        "data_dir": "FOLDER",
        "download": None,
        "skip": "NUMBER",
        "limit": "NUMBER",
        "indices": "[NUMBER, ...]",
        "shard": "NUMBER/NUMBER",
    },
    "noise and draws": {
        "sigma": "NUMBER",
        "noise": "NAME",
        "quantize": None,
        "n0": "NUMBER",
        "n": "NUMBER",
        "seed": "NUMBER|random",
    },
    "mechanisms and radii": {
        "mechanisms": "[NAME, ...]",
        "radii": "[NUMBER, ...]",
        "alpha": "SHARE",
        "attempts": "NUMBER",
    },
    "how it runs": {
        "fast": None,
        "batch_size": "NUMBER|auto",
        "precision": None,
        "channels_last": None,
        "fold_batch_norm": None,
        "compile": None,
        "accelerator": None,
        "devices": "NUMBER|auto",
        "num_nodes": "NUMBER",
        "engine": None,
        "workers": "NUMBER|auto",
        "cpus_per_worker": "NUMBER",
        "gpus_per_worker": "NUMBER",
        "address": "HOST:PORT|auto",
    },
    "where results go": {
        "output": "FOLDER",
        "wandb_project": "NAME",
        "wandb_mode": None,
        "wandb_examples": "NUMBER",
    },
    "this command line": {
        "help": None,
        "config": "FILE",
        "print_config": "FLAGS",
    },
}
"""Title to its options, each with what its value is called; None where its choices say it, or it has none."""

_PLACES = {name: (title, called) for title, options in GROUPS.items() for name, called in options.items()}


class GroupedParser(CertifyParser):
    """The parser of certify.py: options stand in `GROUPS`, one that is in none of them under argparse's own title.

    Its help begins with the ways to call it and ends with the subcommands.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.usage = (
            "certify.py --checkpoint FILE [options]\n"
            "       certify.py --arch NAME --data NAME --sigma NUMBER [options]\n"
            "       certify.py COMMAND ... [options]"
        )

    def _add_action(self, action: Action) -> Action:
        # Groups are of the kind that argparse makes for all options: it asks them how to add one.
        title, called = _PLACES.get(action.dest, (None, None))
        if title is None:
            return super()._add_action(action)
        action.metavar = called or action.metavar
        if action.dest == "fast":  # A flag, as in the subcommands.
            action.nargs, action.const = "?", True
        groups = {group.title: group for group in self._action_groups}
        return (groups.get(title) or self.add_argument_group(title))._add_action(action)

    def format_help(self, *arguments: Any) -> str:
        titles = list(GROUPS)
        self._action_groups.sort(key=lambda group: titles.index(group.title) if group.title in titles else len(titles))
        commands = {name: parse(function.__doc__ or "").short_description for name, function in list_commands().items()}
        lines = [
            fill(about or "", 79, initial_indent=f"  {name:<14}", subsequent_indent=" " * 16)
            for name, about in commands.items()
        ]
        self.epilog = "\n".join(["commands (certify.py COMMAND --help has their options):", *lines])
        return super().format_help(*arguments)
