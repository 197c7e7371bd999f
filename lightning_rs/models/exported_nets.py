"""Programs of `torch.export`: refused, since to load one is to run what its file says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn


def exported_architecture(file: str, config: Mapping[str, Any] | None = None) -> NoReturn:
    """Refuse a file of `torch.export.save`, and say what to do instead.

    `torch.export.load` evaluates the expressions of sizes in it as Python, and unpickles weights and constants: a file
    can run anything.

    Raises:
        ValueError: always.
    """
    raise ValueError(
        f"exported/{file} is not read, since loading a program of torch.export runs code that the file holds; if it is "
        f"yours, make an ONNX file of it: torch.onnx.export(torch.export.load('{file}'), f='net.onnx'), and give "
        "onnx/net.onnx"
    )
