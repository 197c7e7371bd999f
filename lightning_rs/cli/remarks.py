"""What a program says beside its results."""

from __future__ import annotations

import sys
from contextlib import suppress

from pytorch_lightning.utilities import rank_zero_only


@rank_zero_only
def say(line: str) -> None:
    """Print one line on stderr; of several processes the first one alone. Where it cannot be said, nothing fails."""
    with suppress(OSError):  # A file on a full disk, or a pipe that nobody reads.
        print(" ".join(line.split()), file=sys.stderr, flush=True)
