"""Checkpoints that other programs wrote: which net, which weights, which normalisation.

Read are, by what the file holds:

- `{arch, state_dict, ...}`: the randomized-smoothing line. The state is that of `Sequential(layer, net)`, so that the
  net's keys begin with `1.`, or `1.module.` where it was trained in parallel. The layer standardises (J. Cohen,
  E. Rosenfeld, J. Z. Kolter, 2019; Consistency, J. Jeong and J. Shin, 2020; SmoothMix, J. Jeong et al., 2021) or only
  centres (H. Salman et al., 2019), keeps its numbers out of the file, and so has to be named.
- `{net, epoch}`: MACER (R. Zhai et al., 2020), which does not normalise, and whose net is recognised by its weights.
- Weights alone, for example torchvision's, in a dictionary of torch's or as safetensors; or under one of the names
  `state_dict`, `model_state_dict`, `model`, `net`, `params`: the architecture has to be named. Averages of the weights
  beside them (`state_dict_ema` and the like) are another net, and not read.

What all keys begin with (`module.`, `_orig_mod.`, `model.`, `backbone.`, ...) is taken off as far as it must be for
the keys to be those of the architecture. Thin ResNets whose shortcuts are padded with zeros (option A of K. He et al.,
2015) are told apart by their weights.

Nothing in a file runs: it was loaded as tensors and plain values, and names are looked up.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from lightning_rs.checkpoints.fitting import check_answers, fitted, misfit_of, outline
from lightning_rs.checkpoints.normalization import ADVICE, by_channel, normalizing, parse_normalization
from lightning_rs.checkpoints.schema import one_line, shown
from lightning_rs.data import ImageDataModule
from lightning_rs.models import Architecture, ImageFacts, build_base_classifier, get_architecture

# What holds the weights, and what another program calls the parts of our thin ResNets.
_PLACES = ("state_dict", "model_state_dict", "model", "net", "params")
_RENAMED = ((re.compile(r"^linear\."), "fc."), (re.compile(r"\.shortcut\."), ".downsample."))
_MEANS, _STDS = ("0.means", "0.mean"), ("0.sds", "0.stds", "0.std")


def foreign_classifier(
    path: Path,
    content: Any,
    arch: str | None = None,
    data: ImageDataModule | None = None,
    normalization: str | None = None,
) -> tuple[nn.Sequential, str]:
    """The base classifier of a foreign checkpoint in evaluation mode, and its architecture's name.

    Args:
        path: the file, for messages.
        content: what it holds.
        arch: a name that `get_architecture` knows; the file's own when left out.
        data: the data module whose classes the net tells apart.
        normalization: see `parse_normalization`; the file's own, or that of the architecture, when left out.

    Raises:
        ValueError: a file of another form, an unknown architecture, or one that the weights do not fit; something that
            neither the file nor the arguments say.
    """
    weights, named = _weights(path, content)
    candidates = list(_candidates(weights))
    arch = arch or named or next(filter(None, (_recognized(net) for _, net in candidates)), None)
    if arch is None:
        raise ValueError(f"{path} does not name its architecture: give arch, for example cifar_resnet110")
    entry = get_architecture(arch)
    if data is None:
        raise ValueError(f"{path} does not say which data set it was trained on: give data, for example CIFAR10")
    facts = data.facts
    macer = "net" in content and set(content) <= {"net", "epoch", "optimizer", "scheduler"}
    fitting = f"{path} does not fit {arch} for {type(data).__name__}"
    with _one_line(fitting):
        expected = outline(partial(entry.build, facts.num_classes)).keys()
    layer, net = _nearest(candidates, expected)
    _check_classes(path, type(data).__name__, entry, facts.num_classes, net)
    own = (list(entry.mean), list(entry.std)) if entry.mean is not None and entry.std is not None else None
    build = partial(build_base_classifier, arch, facts.num_classes, facts.shape, facts.mean, facts.std)
    with _one_line(fitting):
        channels = len(outline(build)["normalize.mean"])  # Those that the net sees.
    at_net = facts.of_shape((channels, *facts.shape[1:]))
    mean, std = _normalization(path, layer, normalization, at_net, macer, own)
    statistics = {"normalize.mean": by_channel(mean), "normalize.std": by_channel(std)}
    with _one_line(fitting):
        classifier = fitted(build, {f"net.{key}": value for key, value in net.items()} | statistics)
    classifier.normalize = normalizing(mean, std)
    check_answers(classifier, data, str(path))
    return classifier, arch


def foreign_parts(
    path: Path, content: Any, expected: Collection[str]
) -> tuple[dict[str, Tensor], list[float] | None, list[float] | None]:
    """Weights of a net in a foreign file, under names as near to the `expected` ones as they can be brought.

    Args:
        path: the file, for messages.
        content: what it holds.
        expected: names of the net's weights.

    Returns:
        The weights, and mean and std per channel of the normalisation that the file holds before the net, or None.

    Raises:
        ValueError: a file of another form, or a first layer that is no normalisation.
    """
    layer, net = _nearest(list(_candidates(_weights(path, content)[0])), set(expected))
    return (net, *(_statistics(path, layer) if layer else (None, None)))


def _check_classes(path: Path, data: str, entry: Architecture, num_classes: int, held: Mapping[str, Tensor]) -> None:
    """Say of weights that do not fit whether they do with another number of classes, which their shapes say."""
    with _one_line(f"{path} does not fit {entry.name}"):
        own, other = (outline(partial(entry.build, classes)) for classes in (num_classes, num_classes + 1))
        if misfit_of(own, held) is None:
            return
        shapes = ((own[key].shape, other[key].shape, held[key].shape) for key in own.keys() & held.keys())
        sizes = {there[:1] for here, elsewhere, there in shapes if here[:1] != elsewhere[:1]}
        for (classes,) in filter(None, sizes):
            if classes > 1 and misfit_of(outline(partial(entry.build, classes)), held) is None:
                raise ValueError(f"its head tells {classes} classes apart, {data} has {num_classes}")


@contextmanager
def _one_line(what: str) -> Iterator[None]:
    try:
        yield
    except (RuntimeError, AssertionError, TypeError, ValueError) as error:
        raise ValueError(f"{what}: {one_line(error, 400)}") from None


def _weights(path: Path, content: Any) -> tuple[dict[str, Tensor], str | None]:
    """The weights, and the architecture's name if the file has it."""
    held = content if isinstance(content, Mapping) else {}
    places = [key for key in _PLACES if _are_weights(held.get(key))]
    if len(places) > 1:
        raise ValueError(f"{path} holds the weights of more than one net: {', '.join(places)}; save the one to certify")
    state = held[places[0]] if places else held
    if not _are_weights(state):
        kind = f"a dictionary with {', '.join(map(shown, list(held)[:8]))}" if held else f"a {type(content).__name__}"
        raise ValueError(
            f"{path} is not a checkpoint of a known form: expected one of train.py, {{arch, state_dict}}, "
            f"{{net, epoch}}, {{model_state_dict}} or weights alone, got {kind}"
        )
    named = held.get("arch")
    return dict(state), named if isinstance(named, str) else None


def _candidates(state: dict[str, Tensor]) -> Iterator[tuple[dict[str, Tensor], dict[str, Tensor]]]:
    """Weights of a first layer and of the net: as they are, and without what all keys begin with, part by part.

    Of `Sequential(layer, net)` the layer's are set apart.
    """
    layer: dict[str, Tensor] = {}
    while "" not in state:
        yield layer, state
        yield layer, _renamed(state)
        firsts = {key.split(".")[0] for key in state}
        if firsts == {"0", "1"} and not layer:
            layer = {key: value for key, value in state.items() if key.startswith("0.")}
        elif len(firsts) > 1:
            return
        state = {key.partition(".")[2]: value for key, value in state.items() if key not in layer}


def _nearest(
    candidates: Sequence[tuple[dict[str, Tensor], dict[str, Tensor]]], expected: AbstractSet[str]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    return min(candidates, key=lambda candidate: len(expected ^ candidate[1].keys()))


def _renamed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    for pattern, name in _RENAMED:
        state = {pattern.sub(name, key): value for key, value in state.items()}
    return state


def _are_weights(value: Any) -> bool:
    if not isinstance(value, Mapping) or not value:
        return False
    return all(isinstance(key, str) and isinstance(weight, Tensor) for key, weight in value.items())


def _recognized(net: Mapping[str, Tensor]) -> str | None:
    """A thin ResNet for CIFAR-10 and SVHN, or LeNet for MNIST: as MACER's files, which name no architecture."""
    blocks = {match.group(1) for key in net if (match := re.match(r"layer1\.(\d+)\.", key))}
    stages = {key.split(".")[0] for key in net}
    if blocks and "layer3" in stages and "layer4" not in stages:
        projects = any(".downsample." in key or ".shortcut." in key for key in net)
        return f"cifar_resnet{6 * len(blocks) + 2}{'' if projects else '_a'}"
    return "lenet" if stages == {"conv1", "conv2", "fc1", "fc2"} else None


def _normalization(
    path: Path,
    layer: Mapping[str, Tensor],
    given: str | None,
    facts: ImageFacts,
    macer: bool,
    own: tuple[list[float], list[float]] | None,
) -> tuple[list[float], list[float]]:
    """What the file's first layer holds, what was given, or else the architecture's own."""
    if not layer:
        if given is None and own is not None:
            return own
        if given is None and macer:
            given = "none"
        if given is None:
            raise ValueError(f"{path} does not say how images are normalised: give normalization, {ADVICE}")
        return parse_normalization(given, facts)
    mean, std = _statistics(path, layer)
    if len(mean) != facts.shape[0]:
        raise ValueError(f"{path} normalises {len(mean)} channels, the images have {facts.shape[0]}")
    if given is not None:
        raise ValueError(f"{path} holds its own normalisation: leave normalization out")
    return mean, std


def _statistics(path: Path, layer: Mapping[str, Tensor]) -> tuple[list[float], list[float]]:
    """Mean and std per channel that a file's first layer holds; without the latter it only centres."""
    means, stds = (next((layer[key] for key in keys if key in layer), None) for keys in (_MEANS, _STDS))
    numbers = [held.flatten().tolist() for held in (means, stds) if held is not None and held.is_floating_point()]
    if means is None or len(layer) != len(numbers) or len(numbers[0]) != len(numbers[-1]):
        raise ValueError(f"{path} begins with a layer that is no normalisation: it holds {', '.join(layer)}")
    mean = numbers[0]
    return mean, [1.0] * len(mean) if stds is None else numbers[1]
