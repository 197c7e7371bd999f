"""Ends a program cleanly: on SIGTERM and Ctrl-C, when it fails on one of several processes, when its parent is gone."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from lightning_rs.smoothing.capacity import is_out_of_memory

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Interrupted(BaseException):
    """The process was asked to end.

    Attributes:
        signal: number of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.signal = number


@contextmanager
def stopping_cleanly(hint: Callable[[], str], say: bool) -> Iterator[None]:
    """Turns SIGTERM, SIGINT and the death of the process that started this rank into `Interrupted`.

    What is being certified or trained at the moment is given up; what was finished before is on the disk.

    Args:
        hint: what is kept, and how to go on.
        say: whether this process says it.
    """

    owner = os.getpid()

    def stop(number: int, _: Any) -> NoReturn:
        if os.getpid() != owner:  # A forked process that loads data: it ends with its owner, who speaks.
            os._exit(128 + number)
        for other in before:
            signal.signal(other, signal.SIG_DFL)  # Who asks again wants it to end at once.
        if say:
            with suppress(OSError):
                os.write(2, f"\nstopped by {signal.Signals(number).name}: {hint()}\n".encode())
        asked.append(number)
        raise Interrupted(number)

    before: dict[int, Any] = {}
    asked: list[int] = []
    for number in _SIGNALS:
        before[number] = signal.signal(number, stop)
    ended = threading.Event()
    if os.environ.get("LOCAL_RANK", "0") != "0":
        threading.Thread(target=_end_with, args=(os.getppid(), ended), daemon=True).start()
    try:
        yield
    except Exception as error:
        if asked:  # What failed as it was being interrupted is not what ended it.
            raise Interrupted(asked[0]) from error
        raise
    finally:
        ended.set()
        for number, handler in before.items():
            signal.signal(number, handler)


def _end_with(parent: int, ended: threading.Event) -> None:
    """Ask this process to end when its parent has; a rank that is left alone would work on for nobody."""
    while not ended.wait(1.0):
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGTERM)
            # It may wait for an answer of the others in a call that no signal interrupts.
            if not ended.wait(10.0):
                os._exit(128 + signal.SIGTERM)


class KeepHandlers(Callback):
    """Keeps the handlers of SIGTERM and SIGINT that were there before Lightning's.

    Lightning's own let an epoch go on until a batch ends, leave with status 0, and wait for all processes, which may be
    waiting for each other elsewhere.
    """

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._handlers = {number: signal.getsignal(number) for number in _SIGNALS}

    def _put_back(self, *_: Any) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    # Lightning sets its own after `setup`.
    on_sanity_check_start = on_train_start = on_test_start = _put_back


@contextmanager
def ending_together(strategy: Any) -> Iterator[None]:
    """End the program in a few words when it was interrupted, cannot write, lacks memory, or a process of its died.

    The exit status is 128 + the signal's number, or 2; the processes that this one started end with it.

    Args:
        strategy: Lightning's, of a Trainer or of Fabric.
    """
    try:
        yield
    except Interrupted as interrupted:
        _end_others(strategy)
        raise SystemExit(128 + interrupted.signal) from None
    except Exception as error:
        if (line := _explained(error)) is None:
            raise
        _end_others(strategy)
        print(f"\nerror: {line}", file=sys.stderr, flush=True)  # On every process: it may be the only one that failed.
        raise SystemExit(2) from None


def _explained(error: Exception) -> str | None:
    """What a user can mend, in one line; None for anything else."""
    text = str(error)
    if is_out_of_memory(error):
        return f"there is not enough memory: give a smaller batch_size ({' '.join(text.split())[:200]})"
    if isinstance(error, RuntimeError) and "DataLoader worker" in text:
        return f"a process that loads data ended: {' '.join(text.split())[:200]}; memory may be short, see num_workers"
    if isinstance(error, torch.distributed.DistError) or (isinstance(error, RuntimeError) and "gloo" in text):
        return f"another process of this program ended, or does not answer: {' '.join(text.split())[:200]}"
    if not isinstance(error, (OSError, ValueError, MisconfigurationException)):
        return None
    # What a data worker raised comes with its traceback.
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if text.startswith("Caught ") else " ".join(lines)


def _end_others(strategy: Any) -> None:
    for process in getattr(strategy.launcher, "procs", ()):
        process.terminate()  # Both kinds have it: of `ddp` those of subprocess, of `ddp_spawn` of multiprocessing.
