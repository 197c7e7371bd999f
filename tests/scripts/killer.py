"""Callbacks that tests name on the command line: a process that gets a signal, and weights that become NaN."""

import os
import signal

import torch
from pytorch_lightning import Callback


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
