"""Progress bars with an honest estimate of the time left."""

from __future__ import annotations

import sys

from tqdm import tqdm


def progress(total: float, description: str, unit: str, shown: bool = True, leave: bool = True, done: int = 0) -> tqdm:
    """A bar on stderr: ten times a second on a terminal, every half minute in a log file.

    The estimate is the mean rate since the start, not of the last moments: all units cost the same. What was `done`
    before counts as done, but took none of this time.
    """
    interval = 0.1 if sys.stderr.isatty() else 30.0
    return tqdm(
        total=total,
        initial=done,
        desc=description,
        unit=unit,
        leave=leave,
        smoothing=0,
        mininterval=interval,
        maxinterval=interval,
        dynamic_ncols=True,
        disable=not shown,
    )
