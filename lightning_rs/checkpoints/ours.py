"""Checkpoints as trained classifiers: ours, which say everything about themselves, and those of the field."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

from msgspec import UNSET
from torch import nn

from lightning_rs.checkpoints.archive import read_checkpoint
from lightning_rs.checkpoints.fitting import fitted
from lightning_rs.checkpoints.foreign import foreign_classifier
from lightning_rs.checkpoints.schema import Content, one_line, our_content, shown
from lightning_rs.data import DATASETS, ImageDataModule, typed_arguments
from lightning_rs.models import DEFAULT_STAGES, ImageFacts, build_base_classifier, load_named, set_sigma

_PREFIX = "base_classifier."
_VERSION_0_1 = {"0.": "normalize.", "1.": "net."}  # Stages had numbers for names.


@dataclass(frozen=True)
class Checkpoint:
    """A trained base classifier and what is known of its training.

    Attributes:
        base_classifier: the net with its normalisation, in evaluation mode, on the CPU.
        architecture: its name in the registry or in torchvision, or a user's own by its path.
        num_classes: number of classes.
        input_shape: (channels, height, width) of its images.
        sigma: noise standard deviation of the training, in pixel units; None if the file does not say it.
        noise: name of the distribution of its noise.
        stages: of the base classifier, see `lightning_rs.models.build_base_classifier`.
        objective: name of the training objective; None if the file does not say it.
        data: `name`, `init_args` and `facts` of the data module, or None if the training used none that says them.
        foreign: whether anything but train.py made it.
    """

    base_classifier: nn.Module
    architecture: str
    num_classes: int
    input_shape: tuple[int, ...]
    sigma: float | None
    objective: str | None
    data: dict[str, Any] | None
    noise: str = "gaussian"
    stages: tuple[str, ...] = DEFAULT_STAGES
    foreign: bool = False


def load_checkpoint(
    path: str | Path,
    arch: str | None = None,
    data: str | None = None,
    normalization: str | None = None,
    data_args: Mapping[str, Any] | None = None,
) -> Checkpoint:
    """Load a checkpoint of `train.py`, or of the field: see `lightning_rs.checkpoints.foreign` for its formats.

    What `arch` and `data` call by path is imported, since the user names it; what the file so calls is not.

    Args:
        path: the file.
        arch: architecture of a foreign file that does not name its own; or the path of the user's own that a file of
            ours names.
        data: data set of a foreign file, which never names it.
        normalization: how a foreign net's images are normalised, see `parse_normalization`.
        data_args: arguments of the data set of a foreign file, such as `data_dir`.

    Raises:
        OSError: no such file, or one that cannot be read or does not fit into memory.
        ValueError: not a checkpoint, a damaged one, one that needs code execution to load, one that names an unknown
            architecture or a path that the user did not, or one that lacks what the other arguments must then say.
    """
    path = Path(path)
    content = read_checkpoint(path)
    if not isinstance(content, dict) or "lightning_rs" not in content:
        return _load_foreign(path, content, arch, data, normalization, data_args or {})
    if (arch is not None and not {".", "/"} & {*arch}) or normalization is not None:
        raise ValueError(f"{path} is a checkpoint of train.py, which holds arch and normalization: leave them out")
    return _load_ours(path, content, arch)


def load_own_checkpoint(path: str | Path) -> Checkpoint:
    """Load a checkpoint of `train.py` where no other serves.

    Raises:
        OSError, ValueError: see `load_checkpoint`; or a file of another program.
    """
    content = read_checkpoint(path := Path(path))
    if not isinstance(content, dict) or "lightning_rs" not in content:
        raise ValueError(f"{path} is not a checkpoint of train.py")
    return _load_ours(path, content)


def _load_ours(path: Path, content: dict[str, Any], arch: str | None = None) -> Checkpoint:
    held = our_content(path, content)
    h, about = held.hyper_parameters, held.lightning_rs
    load_named(arch)
    stages = DEFAULT_STAGES if h.stages is UNSET else h.stages
    facts = (h.num_classes, h.input_shape, h.mean, h.std)
    build = partial(build_base_classifier, h.architecture, *facts, stages, about.configs)
    try:
        if arch not in (None, h.architecture):
            raise ValueError(f"its architecture is {h.architecture}, not {arch}")
        base_classifier = fitted(build, own_weights(held))
        set_sigma(base_classifier, h.sigma)
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError, OverflowError) as error:
        raise ValueError(f"{path} does not fit the model that it names: {one_line(error, 2000)}") from None
    return Checkpoint(
        base_classifier=base_classifier,
        architecture=h.architecture,
        num_classes=h.num_classes,
        input_shape=h.input_shape,
        sigma=h.sigma,
        objective=about.objective,
        data=None if about.data is None else content["lightning_rs"]["data"],
        noise=h.noise,
        stages=tuple(stages),
    )


def net_config(path: str | Path, architecture: str) -> dict[str, Any]:
    """The plain values from which a checkpoint of ours has the net of a folder or a hub built again.

    Args:
        path: the file.
        architecture: that the net must be.

    Raises:
        OSError: no such file, or one that cannot be read.
        ValueError: not a checkpoint of ours, a damaged one, or one without such values or with another net.
    """
    content = read_checkpoint(path := Path(path))
    if not isinstance(content, dict) or "lightning_rs" not in content:
        raise ValueError(f"{path} is not a checkpoint of train.py: its training cannot be resumed")
    held = our_content(path, content)
    if (own := held.hyper_parameters.architecture) != architecture:
        raise ValueError(f"{path} holds a net {own}, and the configuration names {architecture}")
    if "net" not in held.lightning_rs.configs:
        raise ValueError(
            f"{path} does not hold what {architecture} is built from: if you trust that place, give "
            f"--model.architecture {architecture}"
        )
    return held.lightning_rs.configs["net"]


def own_weights(held: Content) -> dict[str, Any]:
    """The weights of the base classifier that a checkpoint of ours holds."""
    state = held.state_dict.items()
    weights = {key[len(_PREFIX) :]: value for key, value in state if key.startswith(_PREFIX)}
    if held.hyper_parameters.stages is not UNSET:
        return weights
    return {_VERSION_0_1.get(key[:2], key[:2]) + key[2:]: value for key, value in weights.items()}


def _load_foreign(
    path: Path,
    content: Any,
    arch: str | None,
    data: str | None,
    normalization: str | None,
    data_args: Mapping[str, Any],
) -> Checkpoint:
    load_named(arch)
    datamodule, description = (None, None) if data is None else named_data(data, data_args)
    classifier, arch = foreign_classifier(path, content, arch, datamodule, normalization)
    return Checkpoint(
        base_classifier=classifier,
        architecture=arch,
        num_classes=datamodule.facts.num_classes,
        input_shape=datamodule.facts.shape,
        sigma=None,
        objective=None,
        data=description,
        foreign=True,
    )


def named_data(name: str, arguments: Mapping[str, Any]) -> tuple[ImageDataModule, dict[str, Any]]:
    """The data module that the user calls `name`, and what `Checkpoint.data` says of it.

    Args:
        name: a name in `DATASETS`, or the path of the user's own class, which is imported.
        arguments: of the data module; None counts as left out.

    Raises:
        ValueError: an unknown data set, or an argument that it does not take.
    """
    data = _data_module(name, DATASETS.load(name), {}, arguments)
    typed = typed_arguments(type(data), arguments)
    return data, {"name": name, "init_args": typed, "facts": data.facts.plain()}


def data_of(checkpoint: Checkpoint, name: str | None = None, **overrides: Any) -> ImageDataModule:
    """The data module of a checkpoint's training, or the one that the user calls `name`.

    That of the training has its facts: nothing is learnt from the images again, and labels mean the same classes.

    Args:
        checkpoint: see `load_checkpoint`.
        name: a name in `DATASETS`, or the path of the user's own class, which is imported.
        overrides: arguments that replace those of the training; texts are read as on the command line.

    Raises:
        ValueError: an unknown data set, a path that only the checkpoint names, an argument it does not take, or images
            and classes that do not fit the model.
    """
    known = checkpoint.data or {}
    own = known.get("name")
    if name is None and own is None:
        raise ValueError("the checkpoint does not say which data set it was trained on: name one with --data")
    cls = DATASETS.get(own) if name is None else DATASETS.load(name)
    name = name or own
    if own in DATASETS and DATASETS[own] is cls:
        # What only a file names is not fetched.
        init_args = {key: value for key, value in known["init_args"].items() if key != "download"}
        data = _data_module(name, cls, init_args, overrides)
        if known.get("facts"):
            said = {field.name: known["facts"].get(field.name) for field in fields(ImageFacts)}
            try:
                data.restore(ImageFacts(**said))
            except (TypeError, ValueError) as error:
                raise ValueError(f"the checkpoint's facts about its images are none: {one_line(error)}") from None
    else:
        data = _data_module(name, cls, {}, overrides)
    check_fits(checkpoint, name, data.facts)
    return data


def check_fits(checkpoint: Checkpoint, name: str, facts: ImageFacts) -> None:
    """Refuse images and classes, those of the data set `name`, that are not the checkpoint's.

    Raises:
        ValueError: they differ.
    """
    if (facts.num_classes, facts.shape) != (checkpoint.num_classes, checkpoint.input_shape):
        raise ValueError(
            f"the model tells {checkpoint.num_classes} classes of {_shape(checkpoint.input_shape)} images apart; "
            f"{name} has {facts.num_classes} classes of {_shape(facts.shape)} images"
        )
    classes = ((checkpoint.data or {}).get("facts") or {}).get("classes")
    if classes and facts.classes and list(classes) != list(facts.classes):
        raise ValueError(f"the model tells the classes {shown(classes)} apart; {name} has {shown(list(facts.classes))}")


def _data_module(
    name: str, cls: type[ImageDataModule], init_args: Mapping[str, Any], overrides: Mapping[str, Any]
) -> ImageDataModule:
    try:
        typed = typed_arguments(cls, overrides)
    except ValueError as error:
        raise ValueError(f"{name} does not take these arguments: {one_line(error)}") from None
    try:
        return cls(**{key: value for key, value in {**init_args, **typed}.items() if value is not None})
    except (TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"{name} does not take these arguments: {one_line(error)}") from None
    except ValueError as error:
        raise ValueError(one_line(error)) from None


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
