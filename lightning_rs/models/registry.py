"""Names of architectures and of stages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lightning_rs.models.architecture import Architecture
from lightning_rs.models.denoiser import DENOISER, load_denoiser
from lightning_rs.models.exported_nets import exported_architecture
from lightning_rs.models.hf_nets import hf_architecture
from lightning_rs.models.onnx_nets import onnx_architecture
from lightning_rs.models.stage import Stage, check_builds
from lightning_rs.models.timm_nets import timm_architecture
from lightning_rs.models.torchvision_nets import list_torchvision, sized_architecture, torchvision_architecture
from lightning_rs.registry import Registry, split_options


def _adopt_architecture(path: str, value: Any) -> Architecture:
    if isinstance(value, Architecture):
        return value
    check_builds(path, value, "architecture: it must map the number of classes to a module")
    return Architecture(path, value)


def _adopt_stage(path: str, value: Any) -> Stage:
    if isinstance(value, Stage):
        return value
    check_builds(path, value, "stage: it must map the facts about the images to a module")
    return Stage(path.rpartition(".")[2], value)


ARCHITECTURES: Registry[Architecture] = Registry(
    "model",
    "lightning_rs.models",
    lambda value: value.name if isinstance(value, Architecture) else None,
    "--arch {0} to certify.py, --model.architecture {0} to train.py",
    _adopt_architecture,
)
"""Architectures by name. A user's own may be any callable from the number of classes to a module, by its path."""

STAGES: Registry[Stage] = Registry(
    "stage",
    "lightning_rs.models",
    lambda value: value.name if isinstance(value, Stage) else None,
    "--stages '[{}]'",
    _adopt_stage,
)
"""Stages by name. A user's own may be any callable from `ImageFacts` and options to a module, by its path."""


# What stands before the first "/" of a name. A name in a library is known as it is; what leads to files of the user's
# or to a hub is read only if the user said it, or is built again from the plain values that a checkpoint has of it.
_LIBRARIES: dict[str, Callable[[str], Architecture]] = {"timm": timm_architecture, "torchvision": sized_architecture}
_PLACES: dict[str, Callable[..., Architecture]] = {
    "exported": exported_architecture,
    "hf": hf_architecture,
    "onnx": onnx_architecture,
}


def list_architectures() -> list[str]:
    """Names of all architectures, sorted."""
    return sorted(ARCHITECTURES)


def get_architecture(name: str, config: Mapping[str, Any] | None = None) -> Architecture:
    """The architecture of that name: ours, one that the user named, or one of a library.

    Args:
        name: ours, or of torchvision's classification models; `torchvision/NAME`, `timm/NAME`; `hf/PLACE`,
            `onnx/FILE`, `exported/FILE` or a class path, if the user has named it before, see `load_named`.
        config: what an `hf/PLACE` is built from instead, without reading any file.

    Raises:
        ValueError: an unknown name; the error lists the known ones.
    """
    source, slash, rest = name.partition("/")
    if config is not None and source in _PLACES:
        return _PLACES[source](rest, config)
    if name in ARCHITECTURES:
        return ARCHITECTURES[name]
    if slash and source in _LIBRARIES:
        return _LIBRARIES[source](rest)
    if slash and source in _PLACES:
        way = ARCHITECTURES.option.format(name)
        raise ValueError(f"what only a file names is never read: if {name} is yours, give {way}")
    if slash:
        known = ", ".join(f"{known}/" for known in sorted({*_LIBRARIES, *_PLACES}))
        raise ValueError(f"unknown model {name!r}; before the / there may be {known}")
    if "." in name:
        return ARCHITECTURES.get(name)
    others = list_torchvision()
    if name in others:
        return torchvision_architecture(name)
    others = ", ".join(other for other in others if other not in ARCHITECTURES)
    raise ValueError(f"unknown model {name!r}; known: {', '.join(list_architectures())}; and torchvision's: {others}")


def is_place(architecture: str) -> bool:
    """Whether a name leads to files of the user's, or to a hub."""
    source, slash, _ = architecture.partition("/")
    return bool(slash) and source in _PLACES


def load_named(
    architecture: str | None = None, stages: Sequence[str] = (), config: Mapping[str, Any] | None = None
) -> None:
    """Import or read the architecture and the stages that a user, not a file, calls by path: they are then known.

    Args:
        architecture: a place or a path; names that are known anyway are left as they are.
        stages: texts of stages.
        config: from which the net of a place is built instead, without reading it; see `get_architecture`.

    Raises:
        OSError: a place that cannot be read.
        ValueError: a path that leads nowhere, or to something else.
    """
    if architecture and is_place(architecture):
        source, _, rest = architecture.partition("/")
        ARCHITECTURES.enter(architecture, _PLACES[source](rest, *([] if config is None else [config])))
    elif architecture and "." in architecture and "/" not in architecture:
        ARCHITECTURES.load(architecture)
    for text in stages:
        name, options = split_options("stage", text)
        if STAGES.load(name) is DENOISER and "net" in options:
            load_denoiser(str(options["net"]))
