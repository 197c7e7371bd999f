"""Nets that have their weights without a checkpoint: files, those of libraries, and a user's own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from lightning_rs.checkpoints.fitting import check_answers, fitted
from lightning_rs.checkpoints.normalization import normalizing, parse_normalization
from lightning_rs.checkpoints.ours import Checkpoint, named_data
from lightning_rs.checkpoints.schema import one_line
from lightning_rs.data import ImageDataModule
from lightning_rs.models import Architecture, build_base_classifier, get_architecture, load_named

OWN = "own"
"""What stands for the weights that a user's own callable has loaded into the net that it returns."""


def load_net(
    arch: str,
    weights: str | None = None,
    data: str | None = None,
    normalization: str | None = None,
    data_args: Mapping[str, Any] | None = None,
) -> Checkpoint:
    """A net that needs no checkpoint, as the classifier of a data set.

    It is tried on two images: what it returns must be finite scores of the data set's classes.

    Args:
        arch: what `get_architecture` knows, once it is imported or read as the user named it.
        weights: what the net's library calls them; `own` if `arch` is the path of a user's callable whose net has them
            loaded. A net that was named with its weights, such as a file, needs none.
        data: name of the data set, or path of an own one.
        normalization: how the net's images are normalised, see `parse_normalization`; as the net says when left out.
        data_args: arguments of the data set.

    Raises:
        OSError: files or weights that are not there.
        ValueError: something that the arguments must say and do not; weights, images or classes that do not fit; or
            a net that fails, or gives no finite scores.
    """
    if data is None:
        raise ValueError(f"give the data set whose images {arch} is to be certified on, for example --data CIFAR10")
    datamodule, description = named_data(data, data_args or {})
    facts = datamodule.facts
    load_named(arch)
    entry = get_architecture(arch)
    weights = _chosen(entry, arch, weights)
    held = None if weights is None else entry.pretrained(weights)
    mean, std = (entry.mean, entry.std) if held is None or held.mean is None else (held.mean, held.std)
    classifier = _built(arch, datamodule)
    if held is not None:
        try:
            fitted(lambda: classifier.net, held.weights)
        except ValueError as error:
            classes = f"the {facts.num_classes} classes of {data}"
            raise ValueError(f"the weights {weights} of {arch} do not fit {classes}: {error}") from None
    if normalization is not None:
        shape = (entry.channels or facts.shape[0], *facts.shape[1:])
        mean, std = parse_normalization(normalization, facts.of_shape(shape))
    if mean is None or std is None:
        raise ValueError(
            f"{arch} does not say how images are normalised: give normalization: none if the net does so itself or "
            "takes pixels in [0, 1], standardize for the statistics of the data set, or numbers per channel as "
            "mean/std, for example 0.5,0.5,0.5/0.2,0.2,0.2"
        )
    classifier.normalize = normalizing(mean, std)
    check_answers(classifier.eval(), datamodule, arch)
    return Checkpoint(
        base_classifier=classifier,
        architecture=arch,
        num_classes=facts.num_classes,
        input_shape=facts.shape,
        sigma=None,
        objective=None,
        data=description,
        foreign=True,
    )


def _chosen(entry: Architecture, arch: str, weights: str | None) -> str | None:
    """What to ask the net's library for; None if the net is built with its weights."""
    if weights is not None and Path(weights).is_file():
        raise ValueError(f"{weights} is a file: give it as --checkpoint, beside --arch {arch}")
    if entry.carries and entry.pretrained is None:
        if weights is not None:
            raise ValueError(f"{arch} holds its weights: leave weights out, got {weights}")
        return None
    if entry.pretrained is not None:
        if weights is None and not entry.carries:
            raise ValueError(
                f"{arch} has no weights yet: name its library's with --weights (pretrained, or torchvision's DEFAULT), "
                "or give a --checkpoint"
            )
        return weights or "pretrained"
    if "." not in arch:
        raise ValueError(f"{arch} has no weights without a checkpoint: give --checkpoint")
    if weights != OWN:
        raise ValueError(
            f"if {arch} returns a net that has its weights, say --weights {OWN}; if not, give a --checkpoint"
        )
    return None


def _built(arch: str, data: ImageDataModule) -> nn.Sequential:
    facts = data.facts
    try:
        return build_base_classifier(arch, facts.num_classes, facts.shape, facts.mean, facts.std)
    except (ValueError, OSError):
        raise
    except Exception as error:  # A user's own callable may raise anything.
        raise ValueError(f"{arch} fails for {data.name}: {type(error).__name__}: {one_line(error)}") from None
