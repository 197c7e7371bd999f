"""Layers of any net, counted from its head, for learning rates that decay from layer to layer."""

from __future__ import annotations

from torch import nn

from lightning_rs.models import head_of

# Themselves alone: what derives from them is a block, whose parts belong together.
_LISTS = (nn.Sequential, nn.ModuleList)


def layer_depths(base_classifier: nn.Sequential, num_classes: int) -> dict[str, int]:
    """By the name of every weight, how many layers lie between it and the scores: 0 for the head.

    A layer is an element of the net's lists of modules (`nn.Sequential`, `nn.ModuleList`), the blocks of transformers
    and residual nets, or any module of a net without such lists. Layers follow each other as they are defined. Weights
    outside of the lists belong to the layer before them, those before the first one are a layer of their own.

    Args:
        base_classifier: with the stage `net`.
        num_classes: number of classes, by which the head is known.
    """
    net = base_classifier.net
    head = f"net.{head_of(net, num_classes)}"
    names = [name for name, _ in base_classifier.named_parameters()]
    body = [name for name in names if name.rpartition(".")[0] != head]
    blocks = {name: _block(net, name.removeprefix("net.")) if name.startswith("net.") else None for name in body}
    if not any(blocks.values()):
        blocks = {name: name.rpartition(".")[0] for name in body}
    order: list[str] = [""]  # The stem is there, if perhaps without weights.
    layer = {}
    for name in body:
        if (block := blocks[name]) and block not in order:
            order.append(block)
        layer[name] = order.index(block) if block else len(order) - 1
    return {name: len(order) - layer[name] if name in layer else 0 for name in names}


def _block(net: nn.Module, name: str) -> str | None:
    """Name of the element of lists in which a weight lies, the first on the way to it that is no list itself."""
    module, parts = net, name.split(".")
    for end, part in enumerate(parts[:-1], 1):
        listed, module = type(module) in _LISTS, module.get_submodule(part)
        if listed and type(module) not in _LISTS:
            return ".".join(parts[:end])
    return None
