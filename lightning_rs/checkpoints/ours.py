"""Read checkpoints. Nothing in a file can run code: only tensors and plain values load, and names are looked up."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import LightningModule
from torch import Tensor, nn

from lightning_rs.checkpoints.foreign import foreign_classifier
from lightning_rs.checkpoints.run_files import Progress, progress_of
from lightning_rs.data import DATASETS, ImageDataModule
from lightning_rs.models import DEFAULT_STAGES, build_base_classifier, load_named

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
        objective: name of the training objective; None if the file does not say it.
        data: `name`, `init_args` and `facts` of the data module, or None if the training used none that says them.
        foreign: whether another program wrote the file.
    """

    base_classifier: nn.Module
    architecture: str
    num_classes: int
    input_shape: tuple[int, ...]
    sigma: float | None
    objective: str | None
    data: dict[str, Any] | None
    noise: str = "gaussian"
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
        data_args: arguments of the data set of a foreign file, such as `data_dir`; None counts as left out.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a checkpoint, one that needs code execution to load, one that names an unknown architecture or a
            path that the user did not, or one that lacks what the other arguments must then say.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint at {path}")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch names no common class for what a broken or unsafe file raises.
        # PyTorch's own words advise to load it without the safeguard.
        needed = re.search(r"GLOBAL ([\w.]+)", str(error))
        reason = (
            f"to load it, {needed.group(1)} would have to be run" if needed else "it holds no tensors and plain values"
        )
        raise ValueError(f"{path} is not a checkpoint that loads safely: {reason}") from None
    if not isinstance(content, dict) or "lightning_rs" not in content:
        return _load_foreign(path, content, arch, data, normalization, data_args or {})
    if (arch is not None and "." not in arch) or normalization is not None:
        raise ValueError(f"{path} is a checkpoint of train.py, which holds arch and normalization: leave them out")
    missing = {"state_dict", "hyper_parameters"} - set(content)
    if missing:
        raise ValueError(f"{path} is not a checkpoint of train.py: it lacks {', '.join(sorted(missing))}")
    h, about = content["hyper_parameters"], content["lightning_rs"]
    load_named(arch)
    try:
        if arch not in (None, h["architecture"]):
            raise ValueError(f"its architecture is {h['architecture']}, not {arch}")
        stages = h.get("stages", DEFAULT_STAGES)
        base_classifier = build_base_classifier(
            h["architecture"], h["num_classes"], h["input_shape"], h["mean"], h["std"], stages
        )
        base_classifier.load_state_dict(_weights(content["state_dict"], version_0_1="stages" not in h))
        return Checkpoint(
            base_classifier=base_classifier.eval(),
            architecture=h["architecture"],
            num_classes=int(h["num_classes"]),
            input_shape=tuple(h["input_shape"]),
            sigma=float(h["sigma"]),
            objective=str(about["objective"]),
            data=None if about["data"] is None else dict(about["data"]),
            noise=str(h.get("noise", "gaussian")),
        )
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise ValueError(f"{path} does not fit the model that it names: {str(error).splitlines()[0]}") from None


def _weights(state: Mapping[str, Tensor], version_0_1: bool) -> dict[str, Tensor]:
    weights = {key[len(_PREFIX) :]: value for key, value in state.items() if key.startswith(_PREFIX)}
    return {_VERSION_0_1[key[:2]] + key[2:]: value for key, value in weights.items()} if version_0_1 else weights


def _load_foreign(
    path: Path,
    content: Any,
    arch: str | None,
    data: str | None,
    normalization: str | None,
    data_args: Mapping[str, Any],
) -> Checkpoint:
    load_named(arch)
    datamodule = data and _data_module(data, DATASETS.load(data), data_args)
    classifier, arch = foreign_classifier(path, content, arch, datamodule or None, normalization)
    return Checkpoint(
        base_classifier=classifier,
        architecture=arch,
        num_classes=datamodule.facts.num_classes,
        input_shape=datamodule.facts.shape,
        sigma=None,
        objective=None,
        data={"name": data, "init_args": _given(data_args), "facts": datamodule.facts.plain()},
        foreign=True,
    )


def check_continues(path: str | Path, module: LightningModule, data: ImageDataModule) -> Progress:
    """The progress of the checkpoint at `path`, if training `module` on `data` continues it.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a checkpoint of ours, one of version 0.1 or of weights alone, or one of another objective, data
            set or recipe.
    """
    checkpoint = load_checkpoint(path)
    content = torch.load(path, map_location="cpu", weights_only=True)
    if "stages" not in content["hyper_parameters"]:
        raise ValueError(f"{path} is of version 0.1: it can be certified, but its training cannot be resumed")
    free = {"data_dir", "num_workers", "download"}  # What may differ without changing a batch.
    now = {"objective": type(module).__name__, "data": data.description()["name"], **module.hparams}
    then = {
        "objective": checkpoint.objective,
        "data": (checkpoint.data or {}).get("name"),
        **content["hyper_parameters"],
    }
    now |= {key: value for key, value in data.hparams.items() if key not in free}
    then |= {key: value for key, value in (checkpoint.data or {}).get("init_args", {}).items() if key not in free}
    for key in sorted((now.keys() & then.keys()) - free, key=lambda key: (key not in ("objective", "data"), key)):
        if now[key] != then[key]:
            raise ValueError(f"{path} cannot be resumed with another {key}: it has {then[key]}, got {now[key]}")
    if "loops" not in content:
        raise ValueError(f"{path} holds weights alone (save_weights_only): it can be certified, but not resumed")
    return progress_of(content)


def data_of(checkpoint: Checkpoint, name: str | None = None, **overrides: Any) -> ImageDataModule:
    """The data module of a checkpoint's training, or the one that the user calls `name`.

    Args:
        checkpoint: see `load_checkpoint`.
        name: a name in `DATASETS`, or the path of the user's own class, which is imported.
        overrides: arguments that replace those of the training, unless they are None.

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
    data = _data_module(name, cls, (known["init_args"] if name == own else {}) | _given(overrides))
    facts = data.facts
    if (facts.num_classes, facts.shape) != (checkpoint.num_classes, checkpoint.input_shape):
        raise ValueError(
            f"the model tells {checkpoint.num_classes} classes of {_shape(checkpoint.input_shape)} images apart; "
            f"{name} has {facts.num_classes} classes of {_shape(facts.shape)} images"
        )
    return data


def _data_module(name: str, cls: type[ImageDataModule], init_args: Mapping[str, Any]) -> ImageDataModule:
    try:
        return cls(**_given(init_args))
    except TypeError as error:
        raise ValueError(f"{name} does not take these arguments: {error}") from None


def _given(arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in arguments.items() if value is not None}


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
