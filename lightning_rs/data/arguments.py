"""Arguments of a data module as a command line gives them: named, and of the types that the class says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jsonargparse import ArgumentError, ArgumentParser

from lightning_rs.data.base import ImageDataModule


def typed_arguments(cls: type[ImageDataModule], given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments with texts read as `train.py` reads them, where the class says another type.

    Raises:
        ValueError: one that the class does not take, or that is not of its type.
    """
    if not given:
        return {}
    known = ArgumentParser().add_class_arguments(cls, as_group=False, fail_untyped=False)
    unknown = [key for key in given if key not in known]
    if unknown:
        raise ValueError(f"unknown {', '.join(unknown)}; known: {', '.join(sorted(known))}")
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(cls, as_group=False, fail_untyped=False, skip=set(known) - set(given))
    try:
        return parser.parse_object(dict(given)).as_dict()
    except ArgumentError as error:
        reason = " ".join(str(error).replace("<class '", "").replace("'>", "").split())
        raise ValueError(reason.replace("Parser key", "argument")) from None
