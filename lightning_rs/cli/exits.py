"""How the programs end on bad input, one line on stderr and exit status 2, and by Ctrl-C before there is work."""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

from jsonargparse import ArgumentParser, Namespace
from pytorch_lightning.cli import LightningArgumentParser
from pytorch_lightning.utilities import rank_zero_only
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from lightning_rs.certification import FAST
from lightning_rs.cli.help_format import HelpFormat
from lightning_rs.data import DATASETS
from lightning_rs.objectives import OBJECTIVES
from lightning_rs.results.escaping import one_line


@contextmanager
def clean_exit() -> Iterator[None]:
    """Turn what a user can mend (bad values, missing files) into one line and exit status 2, and Ctrl-C into 130."""
    try:
        yield
    except (ValueError, OSError, MisconfigurationException) as error:
        fail(str(error))
    except KeyboardInterrupt:
        if not rank_zero_only.rank:
            print("\nstopped by SIGINT", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)


class TrainParser(LightningArgumentParser):
    """Lightning's parser, with errors in one line."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        fail(message)


class ResumeParser(TrainParser):
    """The same, without files in the place of values: whoever made a run's folder may have put some there."""

    def add_class_arguments(self, *args: Any, **kwargs: Any) -> list[str]:
        return super().add_class_arguments(*args, **kwargs | {"sub_configs": False})


class CertifyParser(ArgumentParser):
    """jsonargparse's parser, with errors in one line and a help in words."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"formatter_class": HelpFormat} | kwargs)

    def parse_args(self, args: Sequence[str] | None = None, *others: Any, **options: Any) -> Namespace:
        """With `fast`, what it chooses and nobody gives is left out, defaults too."""
        parsed = super().parse_args(args, *others, **options)
        if parsed.get("fast"):
            given = super().parse_args(args, *others, **options | {"defaults": False})
            for name in FAST:
                if name not in given:
                    parsed.pop(name)
        return parsed

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        fail(message)


def fail(message: str) -> NoReturn:
    """End the program with one line on stderr and exit status 2."""
    if not rank_zero_only.rank:
        print(f"error: {one_line(_one_line(message))}", file=sys.stderr)
    raise SystemExit(2)


def _one_line(message: str) -> str:
    """The part of a message that tells a user what to change; jsonargparse buries it in a list of failed types."""
    key = re.search(r'Parser key "([^"]+)"', message)
    causes = [c.strip() for c in re.findall(r"^\s*- (.*(?:(?<=':)\n.*)?)$", message, flags=re.MULTILINE)]
    nothing = ("Expected a <class 'NoneType'>", "Expected <class 'NoneType'>", "Expected a path", "Does not val")
    causes = [c for c in causes if not c.startswith(nothing)]
    given = re.search(r"^\s*Given value: (.*)$", message, flags=re.MULTILINE)
    if given and causes and all(map(_KIND.fullmatch, causes)):
        kinds = [_told_types(c).removeprefix("Expected ") for c in causes]
        causes = [f"Expected {' or '.join(dict.fromkeys(kinds))}, got {given.group(1)}"]
    text = causes[0] if causes else re.sub(r"^Call to compute_fn of link .*? failed: ", "", message, flags=re.DOTALL)
    text = re.sub(r'Parser key "([^"]+)":\s*', r"\1: ", " ".join(text.split()))
    unknown = re.fullmatch(r"Expected a dot import path string: (.*)", text)
    if unknown and key and key.group(1) in _CLASSES:
        known = _CLASSES[key.group(1)]
        return f"unknown {known.kind} {unknown.group(1)!r}; known: {', '.join(sorted(known))}"
    if causes and key and (key.group(1) not in text or len(key.group(1)) == 1):  # One letter stands in any text.
        text = f"{key.group(1)}: {text}"
    return _told_types(text).replace(". Got value:", ", got")


def _told_types(text: str) -> str:
    """What jsonargparse expected, in words rather than Python's types."""
    text = re.sub(r"(?<=Expected )(?:a )?<class '([^']+)'>", lambda found: _TYPES.get(found[1], found[1]), text)
    text = re.sub(r"<class '([^']+)'>", r"\1", text.replace("typing.", ""))
    text = re.sub(r"(?:a )?Literal\[([^\],]*)\]", r"\1", text)
    return re.sub(r"(?:a )?Literal\[([^\]]*)\]", r"one of \1", text)


_KIND = re.compile(r"Expected (a )?(<class '[^']+'>|typing\.Literal\[.*\])")
_LIST = "a list, as in '[a, b]'"
_TYPES = {"int": "an integer", "float": "a number", "bool": "true or false", "str": "a text"}
_TYPES |= {"list": _LIST, "collections.abc.Sequence": _LIST, "dict": "a mapping, as in '{a: 1}'"}
_CLASSES = {"model": OBJECTIVES, "data": DATASETS}
