"""Read checkpoints. Nothing in a file can run code: only tensors and plain values load, and names are looked up."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import LightningModule
from torch import nn

from lightning_rs.checks import check_sigma
from lightning_rs.data import ImageDataModule, get_dataset_class
from lightning_rs.checkpoints.foreign import foreign_classifier
from lightning_rs.models import build_base_classifier

_PREFIX = "base_classifier."


@dataclass(frozen=True)
class Checkpoint:
    """A trained base classifier and what is known of its training.

    Attributes:
        base_classifier: the net with its normalisation, in evaluation mode, on the CPU.
        architecture: its name in the registry, or in torchvision.
        num_classes: number of classes.
        input_shape: (channels, height, width) of its images.
        sigma: noise standard deviation of the training, in pixel units; None if the file does not say it.
        objective: name of the training objective; None if the file does not say it.
        data: `name` and `init_args` of the data module, or None if the training used another one.
        foreign: whether another program wrote the file.
    """

    base_classifier: nn.Module
    architecture: str
    num_classes: int
    input_shape: tuple[int, ...]
    sigma: float | None
    objective: str | None
    data: dict[str, Any] | None
    foreign: bool = False


class LoadedClassifier(LightningModule):
    """The base classifier of a checkpoint, as the module that a Trainer takes to certify it.

    Its test step does nothing: `CertificationCallback` certifies at the end of the test epoch. Sigma is that of the
    training when left out.
    """

    def __init__(self, checkpoint: Checkpoint, sigma: float | None = None) -> None:
        super().__init__()
        sigma = checkpoint.sigma if sigma is None else sigma
        if sigma is None:
            raise ValueError("the checkpoint does not say the noise of its training: give sigma")
        self.base_classifier = checkpoint.base_classifier
        self.num_classes = checkpoint.num_classes
        self.sigma = check_sigma(sigma)
        described = {"architecture": checkpoint.architecture, "objective": checkpoint.objective}
        self.save_hyperparameters({**described, "sigma": sigma, "training_sigma": checkpoint.sigma})

    def test_step(self, batch: Any, batch_idx: int) -> None:
        pass


def load_checkpoint(
    path: str | Path, arch: str | None = None, data: str | None = None, normalization: str | None = None
) -> Checkpoint:
    """Load a checkpoint of `train.py`, or of the field: see `lightning_rs.checkpoints.foreign` for its formats.

    Args:
        path: the file.
        arch: architecture of a foreign file that does not name its own.
        data: data set of a foreign file, which never names it.
        normalization: how a foreign net's images are normalised, see `parse_normalization`.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a checkpoint, one that needs code execution to load, one that names an unknown architecture, or
            one that lacks what the other arguments must then say.
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
        return _load_foreign(path, content, arch, data, normalization)
    if arch is not None or normalization is not None:
        raise ValueError(f"{path} is a checkpoint of train.py, which holds arch and normalization: leave them out")
    missing = {"state_dict", "hyper_parameters"} - set(content)
    if missing:
        raise ValueError(f"{path} is not a checkpoint of train.py: it lacks {', '.join(sorted(missing))}")
    h, about = content["hyper_parameters"], content["lightning_rs"]
    try:
        weights = {k[len(_PREFIX) :]: v for k, v in content["state_dict"].items() if k.startswith(_PREFIX)}
        base_classifier = build_base_classifier(
            h["architecture"], h["num_classes"], h["input_shape"], h["mean"], h["std"]
        )
        base_classifier.load_state_dict(weights)
        return Checkpoint(
            base_classifier=base_classifier.eval(),
            architecture=h["architecture"],
            num_classes=int(h["num_classes"]),
            input_shape=tuple(h["input_shape"]),
            sigma=float(h["sigma"]),
            objective=str(about["objective"]),
            data=None if about["data"] is None else dict(about["data"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise ValueError(f"{path} does not fit the model that it names: {str(error).splitlines()[0]}") from None


def _load_foreign(
    path: Path, content: Any, arch: str | None, data: str | None, normalization: str | None
) -> Checkpoint:
    classifier, arch, dataset = foreign_classifier(path, content, arch, data, normalization)
    return Checkpoint(
        base_classifier=classifier,
        architecture=arch,
        num_classes=dataset.num_classes,
        input_shape=dataset.shape,
        sigma=None,
        objective=None,
        data={"name": dataset.__name__, "init_args": {}},
        foreign=True,
    )


def check_continues(path: str | Path, module: LightningModule, data: ImageDataModule) -> tuple[int, int]:
    """Epochs and steps done by the checkpoint at `path`, if training `module` on `data` continues it.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a checkpoint of ours, or one of another objective, data set, model or recipe.
    """
    checkpoint = load_checkpoint(path)
    content = torch.load(path, map_location="cpu", weights_only=True)
    free = {"data_dir", "num_workers", "download"}  # What may differ without changing a batch.
    now = {"objective": type(module).__name__, "data": type(data).__name__, **module.hparams}
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
    return int(content["epoch"]) + 1, int(content["global_step"])


def data_of(checkpoint: Checkpoint, name: str | None = None, **overrides: Any) -> ImageDataModule:
    """The data module of a checkpoint's training, or the one called `name`; `overrides` replace its arguments.

    Raises:
        ValueError: an unknown data set, an argument it does not take, or images and classes that do not fit the model.
    """
    known = checkpoint.data or {}
    name = name or known.get("name")
    if name is None:
        raise ValueError("the checkpoint does not say which data set it was trained on: name one with --data")
    cls = get_dataset_class(name)
    init_args = dict(known["init_args"]) if name == known.get("name") else {}
    init_args |= {key: value for key, value in overrides.items() if value is not None}
    if (cls.num_classes, cls.shape) != (checkpoint.num_classes, checkpoint.input_shape):
        raise ValueError(
            f"the model tells {checkpoint.num_classes} classes of {_shape(checkpoint.input_shape)} images apart; "
            f"{name} has {cls.num_classes} classes of {_shape(cls.shape)} images"
        )
    try:
        return cls(**init_args)
    except TypeError as error:
        raise ValueError(f"{name} does not take these arguments: {error}") from None


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
