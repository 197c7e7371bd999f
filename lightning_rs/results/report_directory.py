"""The directory of a report, marked by a file that says what the report is of, so that no other is written over."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning_rs import __version__
from lightning_rs.files import check_own_directory, write_whole

MARK = "report.json"


class ReportDirectory:
    """A new directory, or one of an earlier report.

    The mark is written before anything else, so that a report which was killed can be made again, and once more at the
    end: until then it says that tables and plots may be those of the report before.

    Args:
        path: the directory; made by `begin`.
        about: what the report is of, in plain values.

    Raises:
        ValueError: a directory that holds other files.
    """

    def __init__(self, path: str | Path, about: Mapping[str, Any]) -> None:
        check_own_directory(path, MARK, "a report")
        self.path = Path(path)
        self._about = dict(about)

    def begin(self) -> None:
        """Make the directory with its mark."""
        self.path.mkdir(parents=True, exist_ok=True)
        self._mark(finished=False)

    def finish(self) -> None:
        """Say that all tables and plots are written."""
        self._mark(finished=True)

    def _mark(self, finished: bool) -> None:
        content = {"finished": finished, "version": __version__, **self._about}
        write_whole(self.path / MARK, json.dumps(content, indent=2) + "\n")
