"""Packages that only some users need: imported when they are used, with their install line where they lack."""

from __future__ import annotations

import importlib
from types import ModuleType


def optional_import(module: str, extra: str) -> ModuleType:
    """A module of an optional dependency.

    Args:
        module: its dotted name.
        extra: of this package that installs it.

    Raises:
        ValueError: it is not installed, with the line that installs it; or it is, and cannot be imported.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        package = module.partition(".")[0]
        if error.name != package:
            raise ValueError(f"{module} cannot be imported: {error}") from None
        raise ValueError(f"this needs {package}, which is not installed: pip install 'lightning_rs[{extra}]'") from None
    except (ImportError, RuntimeError) as error:  # Builds that do not match each other.
        raise ValueError(f"{module} cannot be imported: {' '.join(str(error).split())[:200]}") from None
