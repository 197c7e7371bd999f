"""Stop a certification cleanly on SIGTERM and Ctrl-C."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from pytorch_lightning import Callback, LightningModule, Trainer


class Interrupted(BaseException):
    """The process was asked to end.

    Attributes:
        signal: number of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.signal = number


class StopCleanly(Callback):
    """Turns SIGTERM and SIGINT during a test into `Interrupted`, and says on the first process how to go on.

    Lightning's own handlers wait for the end of the epoch, which for a certification is its end, and broadcast the
    signal in the middle of whatever the processes do. An example that is being certified is given up; those before it
    are on the disk.

    Args:
        directory: where the records are.
    """

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self._before: dict[int, Any] = {}

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        def stop(number: int, _: Any) -> NoReturn:
            for other in self._before:
                signal.signal(other, signal.SIG_DFL)  # Who asks again wants it to end at once.
            if trainer.is_global_zero:
                line = f"stopped by {signal.Signals(number).name}: finished examples are kept in {self.directory}; "
                print(f"\n{line}start the same command again to go on", file=sys.stderr, flush=True)
            raise Interrupted(number)

        self._before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}


@contextmanager
def resumable(trainer: Trainer) -> Iterator[None]:
    """End the program in a few words when a certification was interrupted or failed, or cannot write its records.

    The exit status is 128 + the signal's number, or 2; the processes that this one started end with it.
    """
    try:
        yield
    except Interrupted as interrupted:
        _end_others(trainer)
        raise SystemExit(128 + interrupted.signal) from None
    except (OSError, ValueError) as error:
        print(f"\nerror: {error}", file=sys.stderr, flush=True)  # On every process: it may be the only one that failed.
        _end_others(trainer)
        raise SystemExit(2) from None


def _end_others(trainer: Trainer) -> None:
    launcher = trainer.strategy.launcher
    if launcher is not None and hasattr(launcher, "kill"):
        launcher.kill(signal.SIGTERM)
