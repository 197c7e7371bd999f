"""Base classifiers: a sequence of named stages, from plain values that a checkpoint can hold."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from lightning_rs.models.images import ImageFacts
from lightning_rs.models.registry import STAGES, get_architecture
from lightning_rs.models.stage import Stage
from lightning_rs.registry import split_options

DEFAULT_STAGES = ("normalize", "net")


def build_base_classifier(
    architecture: str,
    num_classes: int,
    input_shape: Sequence[int],
    mean: Sequence[float],
    std: Sequence[float],
    stages: Sequence[str] | None = None,
    configs: Mapping[str, Mapping[str, Any]] | None = None,
) -> nn.Sequential:
    """A base classifier for pixels in [0, 1]: its stages in order, with fresh weights.

    Args:
        architecture: what `get_architecture` knows, for `net`.
        num_classes: number of classes, at least 2.
        input_shape: (channels, height, width) of the images.
        mean, std: statistics of the data set, one number per channel, in pixel units; `normalize` has the net's own
            where it says them.
        stages: each `name` or `name:option=value,option=value` of a stage in `STAGES`; one of them is `net`. Those of
            `default_stages` when left out.
        configs: by stage, the plain values that `configs_of` found in such a classifier. A stage that has them is built
            from them, and from no file.

    Raises:
        ValueError: an unknown name, an option that a stage does not take, or images or statistics that do not fit.
    """
    images, configs = ImageFacts(num_classes, input_shape, mean, std), configs or {}
    entry = get_architecture(architecture, configs.get("net"))
    stages = default_stages(architecture, images.shape, configs.get("net")) if stages is None else stages
    chosen = [(STAGES.get(name), options) for name, options in (split_options("stage", text) for text in stages)]
    names = [stage.name for stage, _ in chosen]
    if names.count("net") != 1 or len(set(names)) < len(names):
        raise ValueError(f"stages must be different ones, and one of them net, got {list(stages)}")
    base_classifier = nn.Sequential()
    for stage, options in chosen:
        if stage.name == "net":
            options = {"architecture": architecture} | options
        if stage.name == "normalize" and entry.mean is not None and entry.std is not None:
            images = dataclasses.replace(images, mean=entry.mean, std=entry.std)
        if stage.name in configs:
            options |= {"config": configs[stage.name]}
        module = build_stage(stage, images, options)
        base_classifier.add_module(stage.name, module)
        images = images.of_shape(getattr(module, "output_shape", images.shape))
    return base_classifier


def build_stage(stage: Stage, images: ImageFacts, options: Mapping[str, Any]) -> nn.Module:
    """The module of a stage for these images.

    Raises:
        ValueError: options that it does not take, images that do not fit, or something that is no module.
    """
    try:
        module = stage.build(images, **options)
    except TypeError as error:
        raise ValueError(f"stage {stage.name!r} does not take the options {options}: {error}") from None
    if not isinstance(module, nn.Module):
        raise ValueError(f"stage {stage.name!r} must be built as a torch module, got a {type(module).__name__}")
    return module


def default_stages(
    architecture: str, input_shape: Sequence[int], config: Mapping[str, Any] | None = None
) -> list[str]:
    """The stages of a base classifier when none are named: `normalize` and `net`, after what makes its images fit.

    Noise is added to the images as they are; a net that prefers another size gets noisy images that were resized, and
    one for colour images three times the same channel of grey ones.

    Args:
        architecture: what `get_architecture` knows.
        input_shape: (channels, height, width) of the images.
        config: of the net, see `configs_of`.
    """
    entry, (channels, height, width) = get_architecture(architecture, config), input_shape
    repeated = [f"channels:count={entry.channels}"] if entry.prefers and (channels, entry.channels) == (1, 3) else []
    fits = entry.prefers is None or (height, width) == (entry.prefers, entry.prefers)
    return [*repeated, *([] if fits else [f"resize:size={entry.prefers}"]), *DEFAULT_STAGES]


def set_sigma(base_classifier: nn.Module, sigma: float) -> None:
    """Tell the stages that depend on it, as some denoisers do, the noise: each has a method `set_sigma`.

    Args:
        base_classifier: of `build_base_classifier`.
        sigma: scale of the noise, of Gaussian noise its standard deviation, in pixel units.

    Raises:
        ValueError: noise that a stage cannot take.
    """
    for stage in base_classifier.children():
        if hasattr(stage, "set_sigma"):
            stage.set_sigma(sigma)


def configs_of(base_classifier: nn.Module) -> dict[str, dict[str, Any]]:
    """By stage, the plain values from which those stages are built again that were named by a file of the user's.

    They are what a stage says as its attribute `own_config`.
    """
    said = {name: getattr(stage, "own_config", None) for name, stage in base_classifier.named_children()}
    return {name: dict(config) for name, config in said.items() if config is not None}


def shape_at_net(base_classifier: nn.Module, input_shape: Sequence[int]) -> tuple[int, ...]:
    """The shape in which images of `input_shape` come to the stage `net`."""
    shape = tuple(input_shape)
    for name, stage in base_classifier.named_children():
        if name == "net":
            break
        shape = tuple(getattr(stage, "output_shape", shape))
    return shape
