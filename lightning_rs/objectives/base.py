"""What all training objectives share: the base classifier, its noise, the steps, and what is logged."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.nn import functional as F
from torchmetrics.classification import MulticlassAccuracy

from lightning_rs.data.checked import check_image
from lightning_rs.models import (
    build_base_classifier,
    configs_of,
    default_stages,
    denoiser_stage,
    set_sigma,
    with_lora,
)
from lightning_rs.noise import make_noise
from lightning_rs.objectives.engine import Engine, plain_layout
from lightning_rs.objectives.epoch_means import EpochMeans
from lightning_rs.objectives.finite import FiniteLosses
from lightning_rs.objectives.freezing import freeze as freeze_named
from lightning_rs.objectives.freezing import keep_evaluating
from lightning_rs.objectives.layer_decay import layer_depths
from lightning_rs.objectives.optimization import Optimizer, Schedule, settings_of
from lightning_rs.objectives.random_state import ResumableRandomState


class SmoothingModule(ResumableRandomState, ABC):
    """A base classifier trained so that its smoothed version is robust. Objectives define `loss`.

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
        sigma: scale of the noise, of Gaussian noise its standard deviation, in pixel units.
        optimizer: optimiser, or a mapping of its fields, as checkpoints hold it.
        schedule: schedule of the learning rate, or a mapping of its fields.
        noise: distribution of the noise, see `lightning_rs.noise.make_noise`.
        stages: of the base classifier in order, each `name` or `name:option=value,option=value`; one is `net`. When
            left out normalize and net, after what makes the images fit the net.
        denoiser: what stands before them, as `NAME` or `NAME,option=value`, see `lightning_rs.models.DENOISERS`; in
            checkpoints it is the first of `stages`.
        weights: what a new training starts from: a checkpoint, a run's directory, a file of weights, the name of
            weights that the net's library has, or `none`; see `lightning_rs.checkpoints.load_initial_weights`.
        freeze: patterns of names of weights or modules that are not trained, see `lightning_rs.objectives.freezing`;
            `all_but_head` trains the last layer alone.
        lora: rank of adapters, which are trained with the head instead of the linear layers, `net:lora=8` in `stages`.
        engine: how the training is computed, or a mapping of its fields.

    Raises:
        ValueError: sigma <= 0, an unknown architecture, images that it does not take, fields that `Optimizer`,
            `Schedule` or `Engine` refuse, a pattern that no weight has, nothing left to train, or a net without linear
            layers.
        FloatingPointError: in training, a loss that is not finite, on any process: on a CPU before it changes a weight,
            on other devices before its weights are evaluated or saved, see `lightning_rs.objectives.finite`.
    """

    def __init__(
        self,
        architecture: str,
        num_classes: int,
        input_shape: list[int],
        mean: list[float],
        std: list[float],
        sigma: float = 0.25,
        optimizer: Optimizer = Optimizer(),  # noqa: B008 (frozen)
        schedule: Schedule = Schedule(),  # noqa: B008 (frozen)
        noise: str = "gaussian",
        stages: list[str] | None = None,
        denoiser: str | None = None,
        weights: str | None = None,
        freeze: list[str] | str | None = None,
        lora: int | None = None,
        engine: Engine = Engine(),  # noqa: B008 (frozen)
    ) -> None:
        super().__init__()
        self.noise_distribution = make_noise(noise, sigma)
        self.sigma = self.noise_distribution.scale
        self.optimizer, self.schedule = settings_of(Optimizer, optimizer), settings_of(Schedule, schedule)
        self.engine = settings_of(Engine, engine)
        self.save_hyperparameters()
        # Plain values, so that checkpoints load safely.
        stages = with_lora(default_stages(architecture, input_shape) if stages is None else stages, lora)
        stages = [*([] if denoiser is None else [denoiser_stage(denoiser)]), *stages]
        settings = {name: asdict(getattr(self, name)) for name in ("optimizer", "schedule", "engine")}
        plain = settings | {"stages": stages, "denoiser": None}
        self.save_hyperparameters({**self.hparams, **plain})
        self.num_classes = num_classes
        self.base_classifier = build_base_classifier(architecture, num_classes, input_shape, mean, std, stages)
        set_sigma(self.base_classifier, self.sigma)
        freeze_named(self.base_classifier, [freeze] if isinstance(freeze, str) else freeze or [], num_classes)
        keep_evaluating(self)
        accuracies = ("train_noisy", "val_noisy", "val_clean", "test_noisy", "test_clean")
        self.accuracy = torch.nn.ModuleDict(
            # Its checks of the labels would make the host wait for the device; the data modules check them.
            {name: MulticlassAccuracy(num_classes, average="micro", validate_args=False) for name in accuracies}
        )
        self._losses, self._means = FiniteLosses(), EpochMeans()
        self._scores: Callable[[Tensor], Tensor] | None = None

    def setup(self, stage: str) -> None:
        super().setup(stage)
        if stage == "fit":
            self._losses, self._means = FiniteLosses(), EpochMeans()
            self._scores = self.engine.set_up(self.base_classifier)

    def teardown(self, stage: str) -> None:
        if stage == "fit":
            self._scores = None
            self.engine.tear_down(self.base_classifier)

    def train(self, mode: bool = True) -> SmoothingModule:
        super().train(mode)
        keep_evaluating(self)
        return self

    def forward(self, x: Tensor) -> Tensor:
        """Logits (rows, classes) of images (rows, channels, height, width) with pixels in [0, 1]."""
        return (self._scores or self.base_classifier)(self.engine.lay_out(x))

    @abstractmethod
    def loss(self, x: Tensor, y: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Loss of clean images x and labels y.

        Returns:
            The loss by its named parts, scalars whose sum is minimised, and logits (copies * rows, classes) under noise
            to measure accuracy with, the first copies of all images first.
        """

    def noise(self, x: Tensor, copies: int = 1, generator: torch.Generator | None = None) -> Tensor:
        """Fresh noise for images (rows, *shape): (copies * rows, *shape), first copies first."""
        return self.noise_distribution.draw(x, copies, generator)

    def ramp(self, epochs: int) -> float:
        """(epoch + 1) / epochs, at most 1: what grows during a warm-up."""
        return min(1.0, (self.current_epoch + 1) / epochs)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        x, y = batch
        if batch_idx == 0:
            check_image(x)
        parts, logits = self.loss(self.engine.lay_out(x), y)
        loss = torch.stack(list(parts.values())).sum()
        self._losses.note(self.global_step, loss, parts)
        if self._losses.due(batch_idx):
            self._require_finite()
        self.accuracy["train_noisy"].update(logits, y.repeat(len(logits) // len(y)))
        logged = {"loss": loss, **(parts if len(parts) > 1 else {})}
        self._means.add(logged, len(x))
        if self._trainer is not None and self._trainer.is_last_batch:  # Early enough for callbacks at the epoch's end.
            self._log_epoch()
        return loss

    def _log_epoch(self) -> None:
        means = self._means.take()
        for name, (mean, rows) in means.items():
            shown = {"prog_bar": name == "loss", "on_step": False, "on_epoch": True}
            self.log(f"train/{name}", mean, sync_dist=True, batch_size=rows, **shown)
        if means:
            self.log("train/noisy_accuracy", self.accuracy["train_noisy"], on_step=False, on_epoch=True)

    def _require_finite(self) -> None:
        found = self._losses.look()
        # All processes stop together; one that stopped alone would leave the others waiting for its gradients.
        if self.trainer.strategy.reduce_boolean_decision(found is None, all=True):
            return
        step, where = self.global_step, " on another process"
        if found is not None:
            step, where = found.step, ": " + ", ".join(f"{name} {value:g}" for name, value in found.parts.items())
        raise FloatingPointError(
            f"the loss of {type(self).__name__} is not finite at step {step} (epoch {self.current_epoch}){where}"
        )

    def on_train_epoch_end(self) -> None:
        self._require_finite()
        self._log_epoch()  # If the training was stopped before the epoch's last batch.

    def on_validation_start(self) -> None:
        self._require_finite()

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self._evaluation_step("val", batch, batch_idx)

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self._evaluation_step("test", batch, batch_idx)

    def _evaluation_step(self, stage: str, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        x, y = batch
        if batch_idx == 0:
            check_image(x)
        # The same draws every epoch, so that epochs compare; a generator of its own leaves training's random state be.
        generator = torch.Generator(x.device).manual_seed(batch_idx)
        # Not by way of `forward`: what is compiled for batches of one size would be compiled again.
        logits = self.base_classifier(x + self.noise(x, generator=generator))
        self.accuracy[f"{stage}_noisy"].update(logits, y)
        self.accuracy[f"{stage}_clean"].update(self.base_classifier(x), y)
        self.log(f"{stage}/loss", F.cross_entropy(logits, y), sync_dist=True)
        self.log(f"{stage}/noisy_accuracy", self.accuracy[f"{stage}_noisy"], prog_bar=True)
        self.log(f"{stage}/clean_accuracy", self.accuracy[f"{stage}_clean"])

    def configure_optimizers(self) -> dict[str, Any]:
        optimizer = self.optimizer.build(self.parameter_groups())
        return {"optimizer": optimizer, **self.schedule.build(optimizer, self)}

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The weights that are trained, in groups of one learning rate each, the head's first."""
        lr, decay = self.optimizer.lr, self.optimizer.layer_decay
        depths = layer_depths(self.base_classifier, self.num_classes) if decay != 1.0 else {}
        groups: dict[int, list[Parameter]] = {}
        for name, weight in self.named_parameters():
            if weight.requires_grad:
                groups.setdefault(depths.get(name.removeprefix("base_classifier."), 0), []).append(weight)
        return [{"params": groups[depth], "lr": lr * decay**depth} for depth in sorted(groups)]

    def logged(self) -> list[str]:
        """The names of all that is logged but the parts of the loss; empty where a subclass logs for itself."""
        steps = ("training_step", "validation_step")
        if any(getattr(type(self), step) is not getattr(SmoothingModule, step) for step in steps):
            return []
        figures = ["train/loss", "train/noisy_accuracy", "val/loss", "val/noisy_accuracy", "val/clean_accuracy"]
        return [*figures, "epoch", "step"]  # Lightning's own, by which the last k checkpoints are kept.

    def logged_parts(self, images: Sequence[tuple[Tensor, int]]) -> list[str]:
        """The names under which the parts of the loss are logged, found by computing it of a few images.

        Neither the module nor any random state changes.
        """
        x, y = torch.stack([image for image, _ in images]), torch.tensor([label for _, label in images])
        with torch.random.fork_rng():
            parts, _ = copy.deepcopy(self).loss(x, y)
        return [f"train/{name}" for name in parts] if len(parts) > 1 else []

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        from lightning_rs import __version__

        self._require_finite()
        checkpoint["state_dict"] = plain_layout(checkpoint["state_dict"])
        data = getattr(self.trainer, "datamodule", None)
        checkpoint["lightning_rs"] = {
            "version": __version__,
            "objective": type(self).__name__,
            "data": data.description() if hasattr(data, "description") else None,
            "configs": configs_of(self.base_classifier),
        }
        super().on_save_checkpoint(checkpoint)
