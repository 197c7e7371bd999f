"""The nets of timm, under its own names: their size and normalisation are those of its data configurations."""

from __future__ import annotations

import difflib
import re
from functools import partial
from types import ModuleType

from torch import nn

from lightning_rs.models.architecture import Architecture, Pretrained
from lightning_rs.models.hub import hub_folder
from lightning_rs.optional import optional_import

_WEIGHTS = "model.safetensors"


def _timm() -> ModuleType:
    return optional_import("timm", "timm")


def timm_architecture(name: str) -> Architecture:
    """The net that timm calls `name`, which may come from a file: it is looked up, and nothing is fetched.

    Raises:
        ValueError: timm has none of that name, or is not installed.
    """
    timm = _timm()
    if not re.fullmatch(r"\w[\w.-]*", name) or not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), 5)
        raise ValueError(f"timm has no net {name!r}; " + (f"near are {', '.join(near)}" if near else "see its list"))
    try:
        known = timm.get_pretrained_cfg(name)
    except RuntimeError as error:  # Of other weights.
        raise ValueError(f"timm has no net {name!r}: {error}") from None
    if known is None:
        raise ValueError(f"timm does not say which images {name} takes")
    channels, height, width = known.input_size
    size = height if height == width else None
    least = size if known.fixed_input_size else known.min_input_size and max(known.min_input_size[1:])
    return Architecture(
        f"timm/{name}",
        partial(_build, name),
        channels=channels,
        size=least,
        any_larger=least is not None and not known.fixed_input_size,
        prefers=size,
        mean=known.mean,
        std=known.std,
        pretrained=partial(_pretrained, name),
    )


def _build(name: str, num_classes: int) -> nn.Module:
    return _timm().create_model(name, pretrained=False, num_classes=num_classes)


def _pretrained(name: str, weights: str) -> Pretrained:
    """timm's own weights of a net, in its cache or on the hub.

    Raises:
        OSError: they cannot be fetched; it says what to put where.
        ValueError: there are none.
    """
    if weights != "pretrained":
        raise ValueError(f"timm/{name} has the weights 'pretrained', got {weights!r}; others as timm/{name}.TAG")
    known = _timm().get_pretrained_cfg(name)
    if not known.hf_hub_id:
        way = f"download {known.url} and name the file" if known.url else "name a file"
        raise ValueError(f"timm has no weights of {name} on the hub: {way}")
    file = hub_folder(known.hf_hub_id, [_WEIGHTS], "timm") / _WEIGHTS
    # custom_load is of files in others' formats.
    net = _timm().create_model(name, pretrained=True, pretrained_cfg_overlay={"file": str(file), "custom_load": False})
    return Pretrained(net.state_dict(), known.mean, known.std)
