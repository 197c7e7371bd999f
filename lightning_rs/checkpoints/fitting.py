"""Weights and the net that they are for: compared by name and shape before it is built, and then asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lightning_rs.checkpoints.schema import one_line
from lightning_rs.data import ImageDataModule
from lightning_rs.models.normalize import Normalize
from lightning_rs.smoothing.scores import ask

_SHOWN = 3
_COUNTER = "num_batches_tracked"  # Not in files of torch before 0.4.1; it changes no answer of a trained net.


def fitted(build: Callable[[], nn.Module], weights: Mapping[str, Any]) -> nn.Module:
    """The net that `build` makes, with these weights, in evaluation mode.

    Raises:
        ValueError: weights that do not fit, with their names; or that are not numbers.
    """
    if (misfit := misfit_of(outline(build), weights)) is not None:
        raise ValueError(misfit)
    net = build()
    own = net.state_dict()
    try:
        net.load_state_dict({key: weights.get(key, own[key]) for key in own})
    except RuntimeError as error:
        raise ValueError(one_line(error, 200)) from None
    check_numbers(net)
    return net.eval()


def outline(build: Callable[[], nn.Module]) -> dict[str, Any]:
    """Names and shapes of a net's weights. A net without memory has them too, however large a file says it is."""
    try:
        with torch.device("meta"):
            return build().state_dict()
    except RuntimeError:  # A user's own net that looks at its numbers, which are not there.
        return build().state_dict()


def misfit_of(expected: Mapping[str, Any], held: Mapping[str, Any]) -> str | None:
    """What is missing, unexpected or of another shape or type in `held`, in one line; None if it fits."""
    missing = [key for key in expected if key not in held and not key.endswith(_COUNTER)]
    unexpected = [key for key in held if key not in expected]
    shapes = [
        f"{key} {_looks(held[key])} for {_looks(value)}"
        for key, value in expected.items()
        if key in held and isinstance(value, Tensor) and _looks(value) != _looks(held[key])
    ]
    parts = (("missing", missing), ("unexpected", unexpected), ("of another shape or type", shapes))
    return "; ".join(f"{len(names)} {what}: {_some(names)}" for what, names in parts if names) or None


def _looks(value: Any) -> str:
    if not isinstance(value, Tensor):
        return f"a {type(value).__name__}"
    kinds = (("complex", value.is_complex()), ("float", value.is_floating_point()), ("bool", value.dtype == torch.bool))
    kind = next((name for name, holds in kinds if holds), "integer")
    return f"{kind} {list(value.shape)}"


def check_numbers(net: nn.Module) -> None:
    """Refuse weights that make every answer NaN.

    Raises:
        ValueError: the name of such a weight.
    """
    for name, parameter in net.named_parameters():
        if not parameter.isfinite().all():
            raise ValueError(f"{name} holds NaN or infinities")
    for name, buffer in net.named_buffers():  # A mask may be infinite.
        if buffer.isnan().any():
            raise ValueError(f"{name} holds NaN")
    for name, module in net.named_modules():
        if isinstance(module, Normalize) and not (module.mean.isfinite().all() and _positive(module.std)):
            raise ValueError(f"{name} must have finite means and positive finite stds")
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_var is not None:
            if not (module.running_var >= 0).all():
                raise ValueError(f"{name}.running_var holds negative numbers")


def check_answers(classifier: nn.Module, data: ImageDataModule, what: str) -> None:
    """Refuse a net that does not answer to images, a black and a white one, with finite scores of their classes.

    Args:
        classifier: in evaluation mode, on the CPU.
        data: whose images and classes they are.
        what: it was made of, for messages.

    Raises:
        ValueError: says what it does.
    """
    facts = data.facts
    images = torch.stack([torch.zeros(facts.shape), torch.ones(facts.shape)])
    try:
        with torch.inference_mode():
            scores = ask(classifier, images)
    except (ValueError, RuntimeError, MemoryError) as error:
        raise ValueError(f"{what}: {one_line(error)}") from None
    if scores.shape != (2, facts.num_classes):
        raise ValueError(
            f"{what} must return a score for each of the {facts.num_classes} classes of {data.name}, "
            f"(2, {facts.num_classes}) for two images, got {tuple(scores.shape)}"
        )
    if not scores.isfinite().all():
        raise ValueError(f"{what} returns scores that are not finite for an image of {data.name}")


def _positive(x: Tensor) -> bool:
    return bool(((x > 0) & x.isfinite()).all())


def _some(names: Sequence[str]) -> str:
    return one_line(", ".join(map(str, names[:_SHOWN])), 200) + (", ..." if len(names) > _SHOWN else "")
