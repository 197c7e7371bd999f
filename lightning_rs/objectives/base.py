"""What all training objectives share: the base classifier, optimiser and schedule, and what is logged."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any, Literal

import torch
from pytorch_lightning import LightningModule
from torch import Tensor
from torch.nn import functional as F
from torch.optim import lr_scheduler
from torchmetrics.classification import MulticlassAccuracy

from lightning_rs.checks import check_at_least, check_not_negative, check_positive, check_sigma
from lightning_rs.data.base import check_image
from lightning_rs.models import build_base_classifier
from lightning_rs.objectives.random_state import random_state, set_random_state


class SmoothingModule(LightningModule, ABC):
    """A base classifier trained so that its Gaussian-smoothed version is robust. Objectives define `loss`.

    Noise is added to pixels in [0, 1], before the normalisation that is the model's first layer, and never clamped:
    as in certification.

    Logged: `train/loss`, `train/<part>` if the loss has several, and `train/noisy_accuracy`; `val/loss` and
    `val/noisy_accuracy` under one noise draw an image, the same draws every epoch; `val/clean_accuracy`; and the same
    for `test`.

    Args:
        architecture: name of the net, see `lightning_rs.models.list_architectures`.
        num_classes: number of classes.
        input_shape: (channels, height, width) of the images.
        mean: mean of the data set per channel, in pixel units.
        std: standard deviation of the data set per channel, in pixel units.
        sigma: standard deviation of the noise, in pixel units.
        optimizer: `sgd`, `adam` or `adamw`.
        lr: learning rate.
        momentum: momentum of `sgd`.
        weight_decay: weight decay.
        schedule: `constant`; `step` multiplies the rate by `gamma` every `step_size` epochs; `cosine` anneals to 0.
        step_size: epochs between steps.
        gamma: factor of a step.
        lr_warmup: epochs over which the rate grows linearly to its value: in units of steps under `cosine`, and
            (epoch + 1) / lr_warmup of it otherwise.

    Checkpoints hold the random state of every process, so that a run that is resumed at the end of an epoch goes on
    with the draws that it would have made.

    Raises:
        ValueError: sigma or lr <= 0, lr_warmup < 0, an unknown architecture, or images that it does not take.
        FloatingPointError: in training, a loss that is not finite, on any process, before it changes a weight.
    """

    def __init__(
        self,
        architecture: str,
        num_classes: int,
        input_shape: list[int],
        mean: list[float],
        std: list[float],
        sigma: float = 0.25,
        optimizer: Literal["sgd", "adam", "adamw"] = "sgd",
        lr: float = 0.1,
        momentum: float = 0.9,
        weight_decay: float = 1e-4,
        schedule: Literal["constant", "step", "cosine"] = "cosine",
        step_size: int = 30,
        gamma: float = 0.1,
        lr_warmup: int = 0,
    ) -> None:
        super().__init__()
        self.sigma = check_sigma(sigma)
        check_positive("lr", lr)
        check_not_negative("momentum", momentum)
        check_not_negative("weight_decay", weight_decay)
        check_at_least("step_size", step_size, 1)
        check_positive("gamma", gamma)
        check_at_least("lr_warmup", lr_warmup, 0)
        self.save_hyperparameters()
        self.num_classes = num_classes
        self.base_classifier = build_base_classifier(architecture, num_classes, input_shape, mean, std)
        accuracies = ("train_noisy", "val_noisy", "val_clean", "test_noisy", "test_clean")
        self.accuracy = torch.nn.ModuleDict(
            {name: MulticlassAccuracy(num_classes, average="micro") for name in accuracies}
        )

    def forward(self, x: Tensor) -> Tensor:
        """Logits (rows, classes) of images (rows, channels, height, width) with pixels in [0, 1]."""
        return self.base_classifier(x)

    @abstractmethod
    def loss(self, x: Tensor, y: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Loss of clean images x and labels y.

        Returns:
            The loss by its named parts, scalars whose sum is minimised, and logits (copies * rows, classes) under noise
            to measure accuracy with, the first copies of all images first.
        """

    def noise(self, x: Tensor, copies: int = 1) -> Tensor:
        """Draws of N(0, sigma^2 I) for images (rows, *shape): (copies * rows, *shape), first copies first."""
        return self.sigma * x.new_empty((copies * len(x), *x.shape[1:])).normal_()

    def ramp(self, epochs: int) -> float:
        """(epoch + 1) / epochs, at most 1: what grows during a warm-up."""
        return min(1.0, (self.current_epoch + 1) / epochs)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        x, y = batch
        if batch_idx == 0:
            check_image(x)
        parts, logits = self.loss(x, y)
        loss = torch.stack(list(parts.values())).sum()
        self._require_finite(loss, parts)
        self.accuracy["train_noisy"](logits, y.repeat(len(logits) // len(y)))
        logged = {"loss": loss, **(parts if len(parts) > 1 else {})}
        for name, value in logged.items():
            self.log(f"train/{name}", value, on_step=False, on_epoch=True, prog_bar=name == "loss", sync_dist=True)
        self.log("train/noisy_accuracy", self.accuracy["train_noisy"], on_step=False, on_epoch=True)
        return loss

    def _require_finite(self, loss: Tensor, parts: dict[str, Tensor]) -> None:
        finite = bool(torch.isfinite(loss))
        # All processes stop together; one that stopped alone would leave the others waiting for its gradients.
        if self.trainer.strategy.reduce_boolean_decision(finite, all=True):
            return
        values = ", ".join(f"{name} {value:g}" for name, value in parts.items())
        raise FloatingPointError(
            f"the loss of {type(self).__name__} is not finite at step {self.global_step} (epoch {self.current_epoch})"
            + (f": {values}" if not finite else " on another process")
        )

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self._evaluation_step("val", batch, batch_idx)

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self._evaluation_step("test", batch, batch_idx)

    def _evaluation_step(self, stage: str, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        x, y = batch
        # The same draws every epoch, so that epochs compare; a generator of its own leaves training's random state be.
        generator = torch.Generator(x.device).manual_seed(batch_idx)
        noise = torch.empty_like(x).normal_(generator=generator)
        logits = self(x + self.sigma * noise)
        self.accuracy[f"{stage}_noisy"](logits, y)
        self.accuracy[f"{stage}_clean"](self(x), y)
        self.log(f"{stage}/loss", F.cross_entropy(logits, y), sync_dist=True)
        self.log(f"{stage}/noisy_accuracy", self.accuracy[f"{stage}_noisy"], prog_bar=True)
        self.log(f"{stage}/clean_accuracy", self.accuracy[f"{stage}_clean"])

    def configure_optimizers(self) -> dict[str, Any]:
        h = self.hparams
        options: dict[str, Any] = {"lr": h.lr, "weight_decay": h.weight_decay}
        if h.optimizer == "sgd":
            optimizer = torch.optim.SGD(self.parameters(), momentum=h.momentum, **options)
        else:
            classes = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
            optimizer = classes[h.optimizer](self.parameters(), **options)
        return {"optimizer": optimizer, **self._schedule(optimizer)}

    def _schedule(self, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
        h = self.hparams
        interval, warmup = "epoch", h.lr_warmup
        schedulers: list[lr_scheduler.LRScheduler] = []
        if h.schedule == "step":
            schedulers = [lr_scheduler.StepLR(optimizer, h.step_size, h.gamma)]
        elif h.schedule == "cosine":
            if not math.isfinite(self.trainer.estimated_stepping_batches):
                raise ValueError("schedule cosine needs a number of epochs: set trainer.max_epochs or max_steps")
            steps = int(self.trainer.estimated_stepping_batches)
            interval, warmup = "step", h.lr_warmup * steps // max(self.trainer.max_epochs or 1, 1)
            schedulers = [lr_scheduler.CosineAnnealingLR(optimizer, steps)]
        if warmup:
            schedulers.append(lr_scheduler.LinearLR(optimizer, start_factor=1 / warmup, total_iters=warmup - 1))
        if not schedulers:
            return {}
        scheduler = schedulers[0] if len(schedulers) == 1 else lr_scheduler.ChainedScheduler(schedulers, optimizer)
        return {"lr_scheduler": {"scheduler": scheduler, "interval": interval}}

    def setup(self, stage: str) -> None:
        if stage == "fit" and self.trainer.global_rank:
            # Lightning seeds all processes alike; they shall not draw the same noise for their images.
            torch.manual_seed(torch.initial_seed() + self.trainer.global_rank)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        from lightning_rs import __version__

        data = getattr(self.trainer, "datamodule", None)
        states: list[Any] = [random_state()]
        if self.trainer.world_size > 1:
            states = [None] * self.trainer.world_size
            torch.distributed.all_gather_object(states, random_state())
        checkpoint["lightning_rs"] = {
            "version": __version__,
            "objective": type(self).__name__,
            "data": data.description() if hasattr(data, "description") else None,
            "random_states": states,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        states = checkpoint.get("lightning_rs", {}).get("random_states", [])
        # Under another number of processes the draws cannot be the same anyway.
        if self.trainer.state.fn == "fit" and len(states) == self.trainer.world_size:
            set_random_state(states[self.trainer.global_rank])
