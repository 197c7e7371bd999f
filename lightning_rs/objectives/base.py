"""What all training objectives share: the base classifier, optimiser and schedule, and what is logged."""

from __future__ import annotations

from typing import Any, Literal

import torch
from pytorch_lightning import LightningModule
from torch import Tensor
from torch.nn import functional as F
from torchmetrics.classification import MulticlassAccuracy

from lightning_rs.checks import check_sigma
from lightning_rs.data.base import check_image
from lightning_rs.models import build_base_classifier


class SmoothingModule(LightningModule):
    """A base classifier trained so that its Gaussian-smoothed version is robust. Objectives define `loss`.

    Noise is added to pixels in [0, 1], before the normalisation that is the model's first layer, and never clamped:
    as in certification.

    Logged: `train/loss` and `train/noisy_accuracy`; `val/loss` and `val/noisy_accuracy` under one noise draw an image,
    the same draws every epoch; `val/clean_accuracy`; and the same for `test`.

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

    Raises:
        ValueError: sigma <= 0, an unknown architecture, or images that it does not take.
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
    ) -> None:
        super().__init__()
        self.sigma = check_sigma(sigma)
        if lr <= 0:
            raise ValueError(f"lr must be positive, got {lr}")
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

    def loss(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Loss of clean images x and labels y, and logits (rows, classes) under noise to measure accuracy with."""
        raise TypeError(f"{type(self).__name__} must define loss")

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        x, y = batch
        if batch_idx == 0:
            check_image(x)
        loss, logits = self.loss(x, y)
        self.accuracy["train_noisy"](logits, y)
        self.log("train/loss", loss, on_step=False, on_epoch=True, prog_bar=True, sync_dist=True)
        self.log("train/noisy_accuracy", self.accuracy["train_noisy"], on_step=False, on_epoch=True)
        return loss

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
        if h.schedule == "constant":
            return {"optimizer": optimizer}
        if h.schedule == "step":
            schedule = torch.optim.lr_scheduler.StepLR(optimizer, h.step_size, h.gamma)
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "epoch"}}
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        from lightning_rs import __version__

        data = getattr(self.trainer, "datamodule", None)
        checkpoint["lightning_rs"] = {
            "version": __version__,
            "objective": type(self).__name__,
            "data": data.description() if hasattr(data, "description") else None,
        }
