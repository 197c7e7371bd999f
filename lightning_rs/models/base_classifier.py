"""Base classifiers: a sequence of named stages, from plain values that a checkpoint can hold."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from torch import nn

from lightning_rs.models.images import ImageFacts
from lightning_rs.models.registry import STAGES
from lightning_rs.registry import split_options

DEFAULT_STAGES = ("normalize", "net")


def build_base_classifier(
    architecture: str,
    num_classes: int,
    input_shape: Sequence[int],
    mean: Sequence[float],
    std: Sequence[float],
    stages: Sequence[str] = DEFAULT_STAGES,
) -> nn.Sequential:
    """A base classifier for pixels in [0, 1]: its stages in order, with fresh weights.

    Args:
        architecture: a name in `list_architectures()`, or of a classification model of torchvision, for `net`.
        num_classes: number of classes, at least 2.
        input_shape: (channels, height, width) of the images.
        mean, std: statistics of the data set, one number per channel, in pixel units.
        stages: each `name` or `name:option=value,option=value` of a stage in `STAGES`; one of them is `net`.

    Raises:
        ValueError: an unknown name, an option that a stage does not take, or images or statistics that do not fit.
    """
    images = ImageFacts(num_classes, input_shape, mean, std)
    chosen = [(STAGES.get(name), options) for name, options in (split_options("stage", text) for text in stages)]
    names = [stage.name for stage, _ in chosen]
    if names.count("net") != 1 or len(set(names)) < len(names):
        raise ValueError(f"stages must be different ones, and one of them net, got {list(stages)}")
    base_classifier = nn.Sequential()
    for stage, options in chosen:
        if stage.name == "net":
            options = {"architecture": architecture} | options
        try:
            module = stage.build(images, **options)
        except TypeError as error:
            raise ValueError(f"stage {stage.name!r} does not take the options {options}: {error}") from None
        if not isinstance(module, nn.Module):
            raise ValueError(f"stage {stage.name!r} must be built as a torch module, got a {type(module).__name__}")
        base_classifier.add_module(stage.name, module)
        images = dataclasses.replace(images, shape=getattr(module, "output_shape", images.shape))
    return base_classifier
