"""What a training needs, found out before anything is written."""

from __future__ import annotations

from pathlib import Path

import torch
from jsonargparse import Namespace
from pytorch_lightning.utilities import rank_zero_only

from lightning_rs.callbacks import CertificationCallback
from lightning_rs.callbacks.readiness import check_monitors
from lightning_rs.cli import say
from lightning_rs.cli.trust import listed
from lightning_rs.data import ImageDataModule
from lightning_rs.models import get_architecture, is_place, shape_at_net
from lightning_rs.objectives import SmoothingModule
from lightning_rs.random_state import random_state, set_random_state
from lightning_rs.results.figures import logged_names
from lightning_rs.smoothing.scores import ask


def check_places(config: Namespace) -> None:
    """Refuse options about where to write that would have to be ignored.

    Raises:
        ValueError: names the option, and the one to use.
    """
    if config.checkpoint.dirpath is not None or config.certification.output is not None:
        raise ValueError(
            "a run writes to RUNS/NAME/checkpoints and RUNS/NAME/certification: leave checkpoint.dirpath and "
            "certification.output out, and choose --runs and --name"
        )
    file = Path(config.checkpoint.filename or "")
    if len(file.parts) > 1 or ".." in file.parts:
        raise ValueError(
            "checkpoint.filename must be the name of a file, without the / that names of figures have, got "
            f"{config.checkpoint.filename!r}"
        )


def check_training(config: Namespace, made: Namespace, module: SmoothingModule, data: ImageDataModule) -> None:
    """Look at data, net and settings as far as they can be judged without a step, and say what was not asked for.

    Args:
        config: what train.py was told.
        made: the same with the objects in the places of their classes.
        module: what is trained.
        data: what it is trained on.

    Raises:
        FileNotFoundError, OSError: images that are not there.
        ValueError: images, scores, settings or monitors that do not serve, or nothing to train.
    """
    if not any(weight.requires_grad for weight in module.parameters()):
        net = config.model.init_args.architecture
        raise ValueError(f"{net} has no weights to train; certify.py --arch {net} certifies it as it is")
    if not rank_zero_only.rank:
        _check_data(made, module, data)
        _check_answers_in_training(config, module, data)
        _say_what_the_net_sees(config, module, data)
    _check_monitors(config, made, module, data)
    for name in ("val_check_interval", "check_val_every_n_epoch"):
        value = made.trainer[name]
        if value is not None and not isinstance(value, (str, dict)) and value <= 0:
            raise ValueError(f"trainer.{name} must be positive, got {value}")


def _check_data(made: Namespace, module: SmoothingModule, data: ImageDataModule) -> None:
    data.prepare_data()
    data.description()
    for split in ("train", "val"):
        data.dataset(split)
    for callback in (made.live_certification, made.certification):
        dataset = data.dataset(callback.split)
        certification = callback.certification(module, dataset, data.called(callback.split), data.facts.levels)
        certification.check()
        if callback.wanted("fit"):
            certification.ask()


def _check_answers_in_training(config: Namespace, module: SmoothingModule, data: ImageDataModule) -> None:
    """Refuse a net that returns more than scores while it is trained, or whose scores its weights cannot learn from.

    Nothing that it keeps, such as statistics of batch norms, nor any random state changes.
    """
    net, architecture, shape = module.base_classifier, config.model.init_args.architecture, data.facts.shape
    images = torch.stack([torch.zeros(shape), torch.ones(shape)])
    kept, state = {name: buffer.clone() for name, buffer in net.named_buffers()}, random_state()
    try:
        scores = ask(net, images)
    except ValueError as error:
        raise ValueError(f"in training {architecture} does not serve: {error}") from None
    finally:
        set_random_state(state)
        with torch.no_grad():
            for name, buffer in net.named_buffers():
                buffer.copy_(kept[name])
    if not scores.requires_grad and any(weight.requires_grad for weight in net.parameters()):
        raise ValueError(f"in training {architecture} gives scores without gradients, so nothing learns from them")


def _say_what_the_net_sees(config: Namespace, module: SmoothingModule, data: ImageDataModule) -> None:
    """Other sizes and channels, and the data's statistics for want of the net's own."""
    architecture, chosen = config.model.init_args.architecture, config.model.init_args.stages
    images = data.facts.shape
    seen = shape_at_net(module.base_classifier, images)
    if chosen is None and seen != images:
        ours, its = ("x".join(map(str, shape)) for shape in (images, seen))
        say(f"images of {ours} are resized to {its} for the net; noise is added at {ours}")
    if is_place(architecture) and get_architecture(architecture).mean is None:
        say(f"{architecture} does not say how its images are normalised: the data's statistics are taken")


def _check_monitors(config: Namespace, made: Namespace, module: SmoothingModule, data: ImageDataModule) -> None:
    """Refuse to monitor what will not be logged, which Lightning finds only when it was trained."""
    callbacks = [callback.get("init_args", {}) for callback in listed(config.trainer.callbacks)]
    monitors = [options.get("monitor") for options in (config.checkpoint, *callbacks)]
    epochs = config.live_certification.every_n_epochs
    for monitor in filter(None, monitors):
        if monitor.startswith("certify/") and epochs != 1:
            raise ValueError(f"monitoring {monitor} needs --live_certification.every_n_epochs 1, got {epochs}")
        if monitor not in (known := _logged(monitor, made.live_certification, module, data)) and known:
            raise ValueError(f"nothing to monitor is logged as {monitor!r}; there are {', '.join(known)}")
    check_monitors([made.checkpoint, *listed(made.trainer.callbacks)])


def _logged(monitor: str, live: CertificationCallback, module: SmoothingModule, data: ImageDataModule) -> list[str]:
    """The names under which there will be figures; empty if only a user's own code knows them."""
    names = module.logged()
    if monitor.startswith("train/") and monitor not in names:
        images = [data.dataset("train")[i] for i in range(2)]
        names += module.logged_parts(images)
    return names and [*names, *logged_names(live.settings.mechanism_set, live.settings.radii_for(module.sigma))]
