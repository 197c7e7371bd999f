"""What a certification during a training needs, checked before its first step."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor, nn

from lightning_rs.certification import Certification
from lightning_rs.checks import check_at_least
from lightning_rs.noise import Noise, as_noise
from lightning_rs.random_state import random_state, set_random_state
from lightning_rs.smoothing import prepare
from lightning_rs.smoothing.sampler import Sampler, evaluating

# The figures of which less is better; of all others more.
_LESS_IS_BETTER = ("abstention_rate", "seconds")


def check_module(module: LightningModule) -> Noise:
    """The noise of a module's training, if the module has all that a certification takes from it.

    Raises:
        ValueError: it lacks `base_classifier`, `num_classes`, `sigma`, or has something else by that name.
    """
    needs = f"to be certified, {type(module).__name__} needs"
    classifier = getattr(module, "base_classifier", None)
    if not isinstance(classifier, nn.Module):
        raise ValueError(
            f"{needs} base_classifier, a module that makes scores of images with pixels in [0, 1]; "
            f"got {_kind(classifier)}"
        )
    try:
        check_at_least("num_classes", getattr(module, "num_classes", None), 2)
    except ValueError as error:
        raise ValueError(f"{needs} num_classes: {error}") from None
    trained = getattr(module, "noise_distribution", None)
    if trained is not None:
        if not isinstance(trained, Noise):
            raise ValueError(f"{needs} noise_distribution, a Noise, or sigma alone; got {_kind(trained)}")
        return trained
    sigma = getattr(module, "sigma", None)
    try:
        return as_noise(float(sigma))
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(
            f"{needs} sigma, the standard deviation of its noise in pixel units, positive and finite; got {sigma!r:.80}"
        ) from None


def check_certification(certification: Certification) -> None:
    """Go the way of one image, from the data set to scores and `run.json`, without a draw and without a trace.

    Raises:
        ValueError: examples, images, scores, settings or a device that do not serve.
    """
    classifier, dataset = certification.base_classifier, certification.dataset
    if not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__") and len(dataset)):
        raise ValueError(f"a certification needs examples by their number, of {certification.data} there are none")
    index, state = certification.indices[0], random_state()
    try:
        example = dataset[index]
        if not (isinstance(example, (tuple, list)) and len(example) == 2 and isinstance(example[0], Tensor)):
            raise ValueError(
                f"{certification.data}, {certification.split}: an example must be an image and its label, "
                f"got {_kind(example)}"
            )
        certification.check()
        image = certification.image(index)[0][None].to(certification.device)
        # Compilation takes minutes, which its own failure alone would be worth.
        preparation = dataclasses.replace(certification.settings.preparation, compile=False)
        with evaluating(classifier), torch.no_grad():
            prepared = prepare(classifier, preparation, image)
            Sampler(prepared, certification.num_classes, certification.noise, 1, 0, image.device).classify(image)
        certification.describe().to_json()
    finally:
        set_random_state(state)


def check_monitors(callbacks: Iterable[Callback]) -> None:
    """Refuse checkpoints and early stopping that take the worst of a certified figure for the best.

    Raises:
        ValueError: names the figure and the mode.
    """
    for callback in callbacks:
        monitor, mode = getattr(callback, "monitor", None), getattr(callback, "mode", None)
        if isinstance(monitor, str) and monitor.startswith(("certify/", "certify_test/")):
            better = "min" if monitor.endswith(_LESS_IS_BETTER) else "max"
            if mode in ("min", "max") and mode != better:
                raise ValueError(f"{type(callback).__name__} monitors {monitor}: its mode must be {better}, got {mode}")


def why_never(trainer: Trainer, every_n_epochs: int) -> str | None:
    """Why a training ends before it has come to a validation that is certified; None if it comes to one.

    A training of fewer epochs than `every_n_epochs` is as it was asked for, so there is nothing to say.
    """
    epochs, between = trainer.max_epochs, trainer.check_val_every_n_epoch
    bounded = epochs is not None and epochs >= 0
    if bounded and epochs < every_n_epochs:
        return None
    if not trainer.enable_validation:
        return "limit_val_batches is 0" if trainer.limit_val_batches == 0 else "there is no validation"
    if between is None:
        batches = epochs * trainer.num_training_batches if bounded else math.inf
        if trainer.max_steps >= 0:
            batches = min(batches, trainer.max_steps * trainer.accumulate_grad_batches)
        every = trainer.val_check_batch
        return f"val_check_interval is {every}, of {batches} batches" if every and every > batches else None
    first = math.lcm(between, every_n_epochs)
    if bounded and epochs < first:
        return f"with check_val_every_n_epoch {between} its first epoch is {first}, of {epochs}"
    return None


def _kind(value: Any) -> str:
    return "nothing" if value is None else f"a {type(value).__name__}"
