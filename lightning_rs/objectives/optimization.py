"""Optimiser and learning-rate schedule of a training, as plain values that a command line and a checkpoint hold."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, TypeVar

import torch
from pytorch_lightning import LightningModule
from torch.nn import Parameter
from torch.optim import lr_scheduler

from lightning_rs.checks import check_at_least, check_known, check_not_negative, check_positive

OPTIMIZERS: dict[str, type[torch.optim.Optimizer]] = {
    "sgd": torch.optim.SGD,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
}
SCHEDULES = ("constant", "step", "cosine")


@dataclass(frozen=True)
class Optimizer:
    """What changes the weights, and how far.

    Args:
        name: `sgd`, `adam` or `adamw`.
        lr: learning rate.
        momentum: momentum of `sgd`; the others have none.
        weight_decay: weight decay.
        layer_decay: what the rate is multiplied by from each layer of the net to the one before it, the head having lr
            itself; see `lightning_rs.objectives.layer_decay`. 1 is one rate for all.

    Raises:
        ValueError: an unknown name, lr <= 0, momentum < 0, weight_decay < 0, layer_decay outside (0, 1], or weights
            that every step enlarges.
    """

    name: Literal["sgd", "adam", "adamw"] = "sgd"
    lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 1e-4
    layer_decay: float = 1.0

    def __post_init__(self) -> None:
        check_known("optimizer", self.name, OPTIMIZERS)
        check_positive("lr", self.lr)
        check_not_negative("momentum", self.momentum)
        check_not_negative("weight_decay", self.weight_decay)
        if check_positive("layer_decay", self.layer_decay) > 1.0:
            raise ValueError(f"layer_decay must be at most 1, got {self.layer_decay:g}")
        if self.lr * self.weight_decay >= 2.0:
            raise ValueError(
                "lr * weight_decay must be less than 2, as from there on every step enlarges the weights, "
                f"got {self.lr:g} * {self.weight_decay:g}"
            )

    def build(self, parameters: Iterable[Parameter] | Iterable[dict[str, Any]]) -> torch.optim.Optimizer:
        """PyTorch's optimiser of `parameters`, or of groups of them with rates of their own."""
        momentum = {"momentum": self.momentum} if self.name == "sgd" else {}
        return OPTIMIZERS[self.name](parameters, lr=self.lr, weight_decay=self.weight_decay, **momentum)


@dataclass(frozen=True)
class Schedule:
    """How the learning rate changes.

    With t the epochs done, or under `cosine` the steps done of T, the rate is the optimiser's times

        constant  1
        step      factor ** (t // step_size)
        cosine    (1 + cos(pi t / T)) / 2

    and, in a warm-up of w epochs, or as many steps as they have, times min(1, (t + 1) / w).

    Args:
        name: `constant`, `step` or `cosine`, which ends at 0.
        step_size: epochs between the steps of `step`.
        factor: what a step of `step` multiplies the rate by.
        warmup: epochs over which the rate grows linearly to its value.

    Raises:
        ValueError: an unknown name, step_size < 1, factor <= 0 or warmup < 0.
    """

    name: Literal["constant", "step", "cosine"] = "cosine"
    step_size: int = 30
    factor: float = 0.1
    warmup: int = 0

    def __post_init__(self) -> None:
        check_known("schedule", self.name, SCHEDULES)
        check_at_least("step_size", self.step_size, 1)
        check_positive("factor", self.factor)
        check_at_least("warmup", self.warmup, 0)

    def build(self, optimizer: torch.optim.Optimizer, module: LightningModule) -> dict[str, Any]:
        """What Lightning's `configure_optimizers` returns beside `optimizer`: nothing if the rate stays as it is.

        Only `cosine` asks for the trainer of `module`, which knows the number of steps.

        Raises:
            ValueError: `cosine` in a training without end.
        """
        interval, warmup = "epoch", self.warmup
        schedulers: list[lr_scheduler.LRScheduler] = []
        if self.name == "step":
            schedulers = [lr_scheduler.StepLR(optimizer, self.step_size, self.factor)]
        elif self.name == "cosine":
            steps = module.trainer.estimated_stepping_batches
            if not math.isfinite(steps):
                raise ValueError("schedule cosine needs a number of epochs: set trainer.max_epochs or max_steps")
            interval, warmup = "step", self.warmup * int(steps) // max(module.trainer.max_epochs or 1, 1)
            schedulers = [lr_scheduler.CosineAnnealingLR(optimizer, int(steps))]
        if warmup:
            schedulers.append(lr_scheduler.LinearLR(optimizer, start_factor=1 / warmup, total_iters=warmup - 1))
        if not schedulers:
            return {}
        scheduler = schedulers[0] if len(schedulers) == 1 else lr_scheduler.ChainedScheduler(schedulers, optimizer)
        return {"lr_scheduler": {"scheduler": scheduler, "interval": interval}}


Settings = TypeVar("Settings")


def settings_of(kind: type[Settings], value: Settings | Mapping[str, Any]) -> Settings:
    """`value`, or the `kind` of settings with the fields that a mapping gives, as checkpoints hold them.

    Raises:
        ValueError: neither of the two, or a field that there is not.
    """
    if isinstance(value, kind):
        return value
    known = [field.name for field in fields(kind)]
    if not isinstance(value, Mapping) or not set(value) <= set(known):
        raise ValueError(f"{kind.__name__.lower()} must have the fields {', '.join(known)}, got {value!r}")
    return kind(**value)
