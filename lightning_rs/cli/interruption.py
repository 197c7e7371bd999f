"""Ends a certification cleanly: on SIGTERM and Ctrl-C, and when it fails on one of several processes."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn


class Interrupted(BaseException):
    """The process was asked to end.

    Attributes:
        signal: number of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.signal = number


@contextmanager
def stopping_cleanly(directory: object, say: bool) -> Iterator[None]:
    """Turns SIGTERM and SIGINT into `Interrupted`.

    An example that is being certified is given up; those before it are on the disk.

    Args:
        directory: where the records are.
        say: whether this process says how to go on.
    """

    def stop(number: int, _: Any) -> NoReturn:
        for other in before:
            signal.signal(other, signal.SIG_DFL)  # Who asks again wants it to end at once.
        if say:
            line = f"stopped by {signal.Signals(number).name}: finished examples are kept in {directory}; "
            print(f"\n{line}start the same command again to go on", file=sys.stderr, flush=True)
        raise Interrupted(number)

    before: dict[int, Any] = {}
    for number in (signal.SIGTERM, signal.SIGINT):
        before[number] = signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def ending_together(strategy: Any) -> Iterator[None]:
    """End the program in a few words when a certification was interrupted or failed, or cannot write its records.

    The exit status is 128 + the signal's number, or 2; the processes that this one started end with it.

    Args:
        strategy: Lightning's, of a Trainer or of Fabric.
    """
    try:
        yield
    except Interrupted as interrupted:
        _end_others(strategy)
        raise SystemExit(128 + interrupted.signal) from None
    except (OSError, ValueError) as error:
        print(f"\nerror: {error}", file=sys.stderr, flush=True)  # On every process: it may be the only one that failed.
        _end_others(strategy)
        raise SystemExit(2) from None


def _end_others(strategy: Any) -> None:
    for process in getattr(strategy.launcher, "procs", ()):
        process.send_signal(signal.SIGTERM)
