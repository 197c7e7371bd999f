"""Training until the certified accuracy on validation images reaches a value, by this package and by a plain loop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from contenders import OBJECTIVES, SIGMA, Seconds, new_optimizer, quiet_trainer
from published_loops import LOOPS
from pytorch_lightning import LightningModule, Trainer, seed_everything
from torch.optim.lr_scheduler import StepLR

from lightning_rs import objectives
from lightning_rs.callbacks import CertificationCallback
from lightning_rs.certification import Certification, CertificationSettings, certify_examples
from lightning_rs.data import CIFAR10, Digits, ImageDataModule
from lightning_rs.metrics import certified_accuracy
from lightning_rs.objectives import Engine, Optimizer, Schedule, SmoothingModule
from lightning_rs.results import Record
from lightning_rs.results.records import certificates_of
from lightning_rs.smoothing.memory import keep_freed_memory

MECHANISM = "cohen"


@dataclass(frozen=True)
class Goal:
    """What to reach, and how: arguments as of `seconds_to` in training.py, and the device."""

    data_dir: str | None
    architecture: str | None
    objective: str
    accuracy: float
    radius: float
    every: int
    limit: int
    max_epochs: int
    device: str
    seed: int = 0

    @property
    def model(self) -> str:
        return self.architecture or ("digits_cnn" if self.data_dir is None else "cifar_resnet20")

    @property
    def optimizer(self) -> Optimizer:
        return Optimizer(lr=0.05 if self.data_dir is None else 0.1)

    @property
    def schedule(self) -> Schedule:
        return Schedule("step", step_size=50)

    @property
    def certification(self) -> dict[str, Any]:
        """How validation images are certified."""
        return {"n": 1000, "mechanisms": [MECHANISM], "radii": [self.radius], "batch_size": 100, "limit": self.limit}

    def data(self, on_device: bool = False) -> ImageDataModule:
        if self.data_dir is None:
            return Digits(64, on_device=on_device)
        return CIFAR10(self.data_dir, 256, num_workers=0 if on_device else 4, on_device=on_device)

    def module(self, engine: Engine) -> SmoothingModule:
        data = self.data()
        both, ours, _ = OBJECTIVES[self.objective]
        seed_everything(self.seed, verbose=False)
        return getattr(objectives, self.objective)(
            self.model,
            data.num_classes,
            list(data.shape),
            list(data.mean),
            list(data.std),
            sigma=SIGMA,
            optimizer=self.optimizer,
            schedule=self.schedule,
            engine=engine,
            **both,
            **ours,
        )

    def reached(self, records: list[Record]) -> float:
        """The certified accuracy."""
        return float(certified_accuracy(*certificates_of(records, MECHANISM), [self.radius])[0])


@dataclass(frozen=True)
class Reached:
    """Certified accuracy after so many epochs, and what they and their certifications took."""

    epochs: int
    accuracy: float
    training: Seconds
    certifying: Seconds


class CertifyUntil(CertificationCallback):
    """Certifies live, and stops the training when the goal is reached."""

    def __init__(self, goal: Goal) -> None:
        super().__init__("val", goal.every, **goal.certification)
        self.goal, self.accuracy = goal, 0.0
        self.seconds = Seconds(0.0, 0.0)

    def _certify(self, trainer: Trainer, pl_module: LightningModule) -> None:
        start = Seconds.now(self.goal.device)
        super()._certify(trainer, pl_module)
        self.seconds = Seconds.now(self.goal.device) - start + self.seconds
        self.accuracy = self.goal.reached(self.records)
        trainer.should_stop = self.accuracy >= self.goal.accuracy


def ours(goal: Goal, engine: Engine, on_device: bool) -> Reached:
    """By a Trainer, as `train.py` does it."""
    module = goal.module(engine)
    data = goal.data(on_device)
    certify = CertifyUntil(goal)
    options = {"max_epochs": goal.max_epochs, "check_val_every_n_epoch": goal.every, "num_sanity_val_steps": 0}
    trainer = quiet_trainer(goal.device, [certify], **options)
    start = Seconds.now(goal.device)
    with keep_freed_memory(trainer.strategy.root_device):
        trainer.fit(module, datamodule=data)
    taken = Seconds.now(goal.device) - start
    return Reached(trainer.current_epoch, certify.accuracy, taken - certify.seconds, certify.seconds)


def published(goal: Goal) -> Reached:
    """By a plain loop, from the same weights."""
    module, device = goal.module(Engine()), torch.device(goal.device)
    net = module.base_classifier.to(device)
    data = goal.data()
    loop = LOOPS[goal.objective](net, SIGMA, **OBJECTIVES[goal.objective][0])
    optimizer = new_optimizer(net, goal.optimizer.lr)
    schedule = StepLR(optimizer, goal.schedule.step_size, goal.schedule.factor)
    settings, val = CertificationSettings(**goal.certification), data.dataset("val")
    noise = module.noise_distribution
    certification = Certification(net, goal.model, data.num_classes, noise, val, data.name, "val", settings)
    training = certifying = Seconds(0.0, 0.0)
    accuracy, epoch = 0.0, 0
    loader = data.train_dataloader()
    while epoch < goal.max_epochs and accuracy < goal.accuracy:
        start = Seconds.now(goal.device)
        loop.epoch(loader, optimizer, device)
        schedule.step()
        epoch += 1
        trained = Seconds.now(goal.device)
        training = trained - start + training
        if epoch % goal.every == 0:
            accuracy = goal.reached(list(certify_examples(certification, range(min(goal.limit, len(val))))))
            certifying = Seconds.now(goal.device) - trained + certifying
    return Reached(epoch, accuracy, training, certifying)
