"""Weights that a training leaves as they are."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from torch import nn

from lightning_rs.models import head_of

ALL_BUT_HEAD = "all_but_head"


def freeze(base_classifier: nn.Sequential, patterns: Sequence[str], num_classes: int) -> None:
    """Freeze the weights that the patterns name.

    Args:
        base_classifier: its weights are changed to need no gradient.
        patterns: each of names of weights or of modules, such as `net.conv1*` or `net.blocks.[0-5].*`; a module stands
            for all its weights. `all_but_head` leaves the last layer of the net alone to train.
        num_classes: number of classes, by which the head is known.

    Raises:
        ValueError: a pattern that nothing has, or nothing left to train.
    """
    for pattern in patterns:
        named = _named(base_classifier, pattern, num_classes)
        if not named:
            names = ", ".join(name for name, _ in list(base_classifier.named_parameters())[:3])
            raise ValueError(f"freeze: no weight or module is called {pattern!r}; the first weights are {names}")
        for name in named:
            base_classifier.get_parameter(name).requires_grad_(False)
    if patterns and not any(weight.requires_grad for weight in base_classifier.parameters()):
        raise ValueError(f"freeze: {', '.join(patterns)} leaves nothing to train")


def _named(base_classifier: nn.Sequential, pattern: str, num_classes: int) -> list[str]:
    """The weights that a pattern names."""
    weights = [name for name, _ in base_classifier.named_parameters()]
    if pattern == ALL_BUT_HEAD:
        head = f"net.{head_of(base_classifier.net, num_classes)}."
        return [name for name in weights if not name.startswith(head)]

    def places(name: str) -> list[str]:
        parts = name.split(".")
        return [".".join(parts[: end + 1]) for end in range(len(parts))]

    return [name for name in weights if any(fnmatchcase(place, pattern) for place in places(name))]


def keep_evaluating(module: nn.Module) -> None:
    """Put what keeps statistics in frozen modules, such as batch norms, into evaluation mode: it is not to change."""
    for part in module.modules():
        weights = list(part.parameters())
        if weights and not any(weight.requires_grad for weight in weights):
            for keeping in part.modules():
                if list(keeping.buffers(recurse=False)):
                    keeping.training = False
