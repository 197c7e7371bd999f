"""Names of data sets."""

from __future__ import annotations

import inspect
from typing import Any

from lightning_rs.data.base import ImageDataModule
from lightning_rs.registry import Registry


def _name_of(value: Any) -> str | None:
    is_class = isinstance(value, type) and issubclass(value, ImageDataModule)
    return value.__name__ if is_class and not inspect.isabstract(value) else None


DATASETS: Registry[type[ImageDataModule]] = Registry("data set", "lightning_rs.data", _name_of, "--data {}")
"""Data modules by name of their class."""
