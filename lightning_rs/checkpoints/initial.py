"""The weights that a new training starts from: of a file, or those that a net's library has."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from lightning_rs.checkpoints.archive import read_checkpoint
from lightning_rs.checkpoints.fitting import check_numbers, misfit_of
from lightning_rs.checkpoints.foreign import foreign_parts
from lightning_rs.checkpoints.normalization import by_channel
from lightning_rs.checkpoints.ours import own_weights
from lightning_rs.checkpoints.schema import our_content
from lightning_rs.models import Architecture, get_architecture, head_of
from lightning_rs.models.lora import is_adapter, without_wrapper
from lightning_rs.objectives import SmoothingModule

NONE, PRETRAINED = "none", "pretrained"
_IN_A_FOLDER = ("checkpoints/last.ckpt", "model.safetensors", "pytorch_model.bin")
_FILES = (".ckpt", ".pt", ".pth", ".bin", ".safetensors", ".tar")


def load_initial_weights(module: SmoothingModule) -> str | None:
    """Give the base classifier the weights that its argument `weights` names.

    That is a checkpoint of ours or of the field, a file of weights (torch or safetensors), the directory of a run, a
    folder with `model.safetensors` as timm saves them, or a name that the net's library knows, such as `pretrained`.
    When left out, a net that carries weights, as the folders of transformers do, starts from those; `none` are fresh.

    The head stays as it is if theirs tells other classes apart, or if they have none; so do adapters, and stages of
    which they have nothing. All else must fit. The normalisation is that of the weights, if they come with one.

    Args:
        module: is changed; its architecture is known to the registry.

    Returns:
        One line that says what it starts from, and which weights are new; None if all are.

    Raises:
        OSError: no such file, or one that cannot be read.
        ValueError: no weights of that name, or weights that fit in part, with the names of those that do not.
    """
    name, given = module.hparams["architecture"], module.hparams.get("weights")
    entry = get_architecture(name)
    if given == NONE or (given is None and not (entry.carries and entry.pretrained)):
        return None
    base_classifier = module.base_classifier
    own = {without_wrapper(key): value for key, value in base_classifier.state_dict().items()}
    source = name if given in (None, PRETRAINED) else given
    held = _held(given or PRETRAINED, entry, [key.removeprefix("net.") for key in own if key.startswith("net.")])
    head = f"net.{without_wrapper(head_of(base_classifier.net, module.num_classes))}."
    new = _new_head(own, held, head, module.num_classes)
    stages = {"net", *(key.partition(".")[0] for key in held)}
    absent = [name for name, _ in base_classifier.named_children() if name not in stages]
    adapters = {key for key in own if is_adapter(key) and key not in held}
    kept = {key for key in own if key.partition(".")[0] in absent} | adapters | new
    expected = {key: value for key, value in own.items() if key not in kept}
    if (misfit := misfit_of(expected, {key: value for key, value in held.items() if key not in new})) is not None:
        raise ValueError(f"the weights of {source} fit {name} only in part: {misfit}")
    weights = {key: held.get(without_wrapper(key)) for key in base_classifier.state_dict()}
    taken = {key: value for key, value in weights.items() if value is not None and without_wrapper(key) not in new}
    base_classifier.load_state_dict(taken, strict=False)
    try:
        check_numbers(base_classifier)
    except ValueError as error:
        raise ValueError(f"the weights of {source} cannot serve: {error}") from None
    fresh = [f"new for {module.num_classes} classes: {', '.join(sorted(new))}"] if new else []
    stages_left = [name for name in absent if list(base_classifier.get_submodule(name).parameters())]
    if also := [*stages_left, *(["adapters"] if adapters else [])]:
        fresh.append(f"not among them: {', '.join(also)}")
    return "; ".join([f"the training starts from the weights of {source}", *fresh])


def _held(given: str, entry: Architecture, expected: Collection[str]) -> dict[str, Any]:
    """The weights of that name or place, under the names of a base classifier's."""
    path = _file(given)
    if path is None:
        if entry.pretrained is None:
            raise ValueError(f"weights must be a file, a directory or none, as {entry.name} has none, got {given!r}")
        found = entry.pretrained(given)
        return _staged(_named(found.weights, expected), found.mean, found.std)
    content = read_checkpoint(path)
    if isinstance(content, Mapping) and "lightning_rs" in content:
        held = own_weights(our_content(path, content))
        return {without_wrapper(key): value for key, value in held.items()}
    net, mean, std = foreign_parts(path, content, {*expected, *_inner(expected)})
    return _staged(_named(net, expected), mean, std)


def _file(given: str) -> Path | None:
    """The file that is meant; None if it is a name."""
    path = Path(given).expanduser()
    if given == PRETRAINED or path.is_file():
        return None if given == PRETRAINED else path
    if path.is_dir():
        for name in _IN_A_FOLDER:
            if (path / name).is_file():
                return path / name
        raise FileNotFoundError(f"{given} holds no weights: expected one of {', '.join(_IN_A_FOLDER)} in it")
    if os.sep in given or given.endswith(_FILES):
        raise FileNotFoundError(f"no weights at {given}")
    return None


def _staged(net: Mapping[str, Any], mean: Sequence[float] | None, std: Sequence[float] | None) -> dict[str, Any]:
    statistics = {"mean": mean, "std": std} if mean is not None and std is not None else {}
    normalize = {f"normalize.{key}": by_channel(value) for key, value in statistics.items()}
    return {f"net.{key}": value for key, value in net.items()} | normalize


def _wrapper(expected: Collection[str]) -> str:
    """What all names begin with, such as `model`; files of other programs have the names without it."""
    firsts = {key.partition(".")[0] for key in expected}
    return firsts.pop() if len(firsts) == 1 else ""


def _inner(expected: Collection[str]) -> list[str]:
    wrapper = _wrapper(expected)
    return [key.removeprefix(f"{wrapper}.") for key in expected] if wrapper else []


def _named(net: Mapping[str, Any], expected: Collection[str]) -> dict[str, Any]:
    """The weights with or without the wrapper's name, whichever has more of the expected names."""
    wrapped = {f"{_wrapper(expected)}.{key}": value for key, value in net.items()}
    return max(dict(net), wrapped, key=lambda names: len(names.keys() & set(expected)))


def _new_head(own: Mapping[str, Any], held: Mapping[str, Any], head: str, num_classes: int) -> set[str]:
    """Names of weights that stay as they are: those of the head, and of heads beside it, if it tells others apart."""

    def of_other_classes(key: str) -> bool:
        ours, theirs = own[key], held.get(key)
        if not (isinstance(theirs, Tensor) and isinstance(ours, Tensor)) or ours.shape == theirs.shape:
            return False
        return ours.shape[:1] == (num_classes,) and ours.shape[1:] == theirs.shape[1:]

    in_head = {key for key in own if key.startswith(head)}
    if in_head.isdisjoint(held):
        return in_head
    others = set(filter(of_other_classes, own))
    return others if in_head & others else set()
