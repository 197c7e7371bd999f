"""Callbacks that tests name on the command line: processes that die or get a signal, and weights that become NaN."""

import os
import signal
from contextlib import suppress
from pathlib import Path

import torch
from pytorch_lightning import Callback


def kill_wandb_service():
    """Kills the wandb-core that this process started."""
    for status in Path("/proc").glob("[0-9]*/status"):
        with suppress(FileNotFoundError, ProcessLookupError):  # Others end meanwhile.
            text = status.read_text()
            if text.startswith("Name:\twandb-core") and f"\nPPid:\t{os.getpid()}\n" in text:
                os.kill(int(status.parent.name), signal.SIGKILL)


class ServiceKiller(Callback):
    """Kills W&B's service before the given step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_start(self, trainer, *_):
        if trainer.global_step == self.step:
            kill_wandb_service()


class Killer(Callback):
    """Sends its own process a signal before the given step."""

    def __init__(self, step: int, number: int = int(signal.SIGKILL)) -> None:
        self.step = step
        self.number = number

    def on_train_batch_start(self, trainer, *_):
        if trainer.global_step == self.step:
            os.kill(os.getpid(), self.number)


class Poison(Callback):
    """Makes a weight NaN before the given step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_start(self, trainer, pl_module, *_):
        if trainer.global_step == self.step:
            with torch.no_grad():
                next(pl_module.parameters()).fill_(float("nan"))
