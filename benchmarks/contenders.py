"""Who is timed in benchmarks/training.py: the published loop, and this package's Trainer under several settings.

Each runs in a process of its own, for what it asks of the C library's memory holds for a whole process, and is not
undone: a loop that came after ours would run under other thresholds than those that it finds by itself.
"""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cache
from multiprocessing import get_context
from typing import Any

import torch
from published_loops import LOOPS, Batches
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import nn
from torch.optim import SGD
from torch.utils.data import DataLoader, TensorDataset

from lightning_rs import objectives
from lightning_rs.cli import quiet_libraries
from lightning_rs.data import ImageDataModule
from lightning_rs.objectives import Engine, SmoothingModule
from lightning_rs.smoothing.memory import keep_freed_memory

SIGMA = 0.25
MODELS = {"digits_cnn": (1, 8, 8), "cifar_resnet20": (3, 32, 32), "cifar_resnet110": (3, 32, 32)}
# Of both, of ours alone (a warm-up of one epoch is none), and passes of the batch a step.
OBJECTIVES: dict[str, tuple[dict[str, Any], dict[str, Any], int]] = {
    "Gaussian": ({}, {}, 1),
    "Consistency": ({"m": 2, "lbd": 10.0, "eta": 0.5}, {}, 2),
    "SmoothMix": ({"m": 2, "alpha": 0.5, "steps": 4, "mix_step": 1, "eta": 5.0}, {"warmup": 1}, 12),
    "SmoothAdv": ({"m": 2, "epsilon": 0.5, "steps": 4}, {"warmup": 1}, 10),
    "CATRS": ({"m": 2, "epsilon": 0.5, "steps": 4, "lbd": 0.5}, {}, 12),
    "MACER": ({"k": 8, "lbd": 12.0, "beta": 16.0, "gamma": 8.0}, {}, 8),
}


@dataclass(frozen=True)
class Case:
    """What all contenders do: steps of an objective on batches of random images."""

    objective: str
    model: str
    batch: int
    steps: int
    device: str


@dataclass(frozen=True)
class Contender:
    """Who does it: the published loop, or this package.

    Attributes:
        published: the published loop; the rest is of ours.
        keep_memory: as `train.py` does on a CPU.
        engine, precision, on_device: see docs/training.md.
    """

    published: bool = False
    keep_memory: bool = True
    engine: Engine = Engine()  # noqa: RUF009 (frozen)
    precision: str = "32-true"
    on_device: bool = False


@dataclass(frozen=True)
class Seconds:
    """Of the clock, and of the processor in this process."""

    wall: float
    processor: float

    @classmethod
    def now(cls, device: str) -> Seconds:
        if device == "cuda":
            torch.cuda.synchronize()
        return cls(time.perf_counter(), time.process_time())

    def __add__(self, other: Seconds) -> Seconds:
        return Seconds(self.wall + other.wall, self.processor + other.processor)

    def __sub__(self, other: Seconds) -> Seconds:
        return Seconds(self.wall - other.wall, self.processor - other.processor)


class RandomImages(ImageDataModule):
    """Random bytes and labels, for `steps` batches."""

    num_classes = 10

    def __init__(self, shape: tuple[int, int, int], steps: int, batch_size: int, on_device: bool = False) -> None:
        super().__init__(batch_size, on_device=on_device)
        self.shape, self.mean, self.std = shape, (0.5,) * shape[0], (0.25,) * shape[0]
        self._size = steps * batch_size

    def load(self, split: str) -> TensorDataset:
        generator = torch.Generator().manual_seed(0)
        pixels = torch.randint(256, (self._size, *self.shape), generator=generator)
        return TensorDataset(pixels / 255, torch.randint(10, (self._size,), generator=generator))


def new_module(objective: str, model: str, shape: tuple[int, int, int], engine: Engine = Engine()) -> SmoothingModule:  # noqa: B008
    """The same weights for everybody."""
    both, ours, _ = OBJECTIVES[objective]
    torch.manual_seed(0)
    statistics = ([0.5] * shape[0], [0.25] * shape[0])
    schedule = objectives.Schedule("constant")
    settings = {"sigma": SIGMA, "engine": engine, "schedule": schedule, **both, **ours}
    return getattr(objectives, objective)(model, 10, list(shape), *statistics, **settings)


def new_optimizer(net: nn.Module, lr: float = 0.1) -> SGD:
    """That of `objectives.Optimizer`, and of the papers."""
    return SGD(net.parameters(), lr=lr, momentum=0.9, weight_decay=1e-4)


def quiet_trainer(device: str, callbacks: list[Callback], **options: Any) -> Trainer:
    """A Trainer that prints, logs to files and saves nothing."""
    quiet_libraries()
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="pytorch_lightning")
    names = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
    silent = dict.fromkeys(names, False)
    accelerator = "gpu" if device == "cuda" else "cpu"
    return Trainer(accelerator=accelerator, devices=1, callbacks=callbacks, **silent, **options)


@dataclass
class StepTimer(Callback):
    """Times an epoch without its first batch."""

    device: str
    start: Seconds | None = field(default=None, init=False)
    end: Seconds | None = field(default=None, init=False)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if batch_idx == 0:
            self.start = Seconds.now(self.device)
        elif batch_idx + 1 == trainer.num_training_batches:
            self.end = Seconds.now(self.device)

    def batches(self, loader: DataLoader) -> Iterator[Any]:
        """The same for a loop without hooks."""
        iterator = iter(loader)
        yield next(iterator)
        self.start = Seconds.now(self.device)
        yield from iterator
        self.end = Seconds.now(self.device)

    @property
    def seconds(self) -> Seconds:
        return self.end - self.start


@cache
def _runner(case: Case, contender: Contender) -> Callable[[], Seconds]:
    """Made once in a process: the net goes on learning from turn to turn."""
    shape = MODELS[case.model]
    data = RandomImages(shape, case.steps + 1, case.batch, contender.on_device)
    module = new_module(case.objective, case.model, shape, contender.engine)
    if contender.published:
        device = torch.device(case.device)
        net = module.base_classifier.to(device)
        loop = LOOPS[case.objective](net, SIGMA, **OBJECTIVES[case.objective][0])
        optimizer = new_optimizer(net)
        on_cuda = device.type == "cuda"
        loader: Batches = DataLoader(data.dataset("train"), case.batch, shuffle=True, pin_memory=on_cuda)

        def published() -> Seconds:
            timer = StepTimer(case.device)
            loop.epoch(timer.batches(loader), optimizer, device)
            return timer.seconds

        return published

    def ours() -> Seconds:
        timer = StepTimer(case.device)
        options = {"max_epochs": 1, "limit_val_batches": 0, "precision": contender.precision}
        trainer = quiet_trainer(case.device, [timer], **options)
        with ExitStack() as stack:
            if contender.keep_memory:
                stack.enter_context(keep_freed_memory(trainer.strategy.root_device))
            trainer.fit(module, datamodule=data)
        return timer.seconds

    return ours


def new_process() -> ProcessPoolExecutor:
    """A process of its own, from one that has imported the libraries and done nothing else."""
    context = get_context("forkserver")
    context.set_forkserver_preload(["lightning_rs.train"])
    return ProcessPoolExecutor(1, mp_context=context)


def turn(case: Case, contender: Contender) -> Seconds:
    """Seconds of the steps of one turn."""
    return _runner(case, contender)()
