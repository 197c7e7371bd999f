"""The layer of a net that gives the scores."""

from __future__ import annotations

from torch import nn


def head_of(net: nn.Module, num_classes: int) -> str:
    """Name of the head: of the modules with `num_classes` outputs the one that is defined last.

    Args:
        net: a net.
        num_classes: number of its classes.

    Raises:
        ValueError: no module has as many outputs.
    """
    heads = [
        name
        for name, module in net.named_modules()
        if any(weight.shape[:1] == (num_classes,) for weight in module.parameters(recurse=False))
    ]
    if not heads:
        raise ValueError(f"no layer of the net has {num_classes} outputs, one for each class, so none is its head")
    return heads[-1]
