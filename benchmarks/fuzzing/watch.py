"""What the interpreter does beside reading: writes outside of a folder, programs, connections, a module of traps."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

WITNESS = "witness"
"""Name of a module that nothing may import; hostile files name it, and what it defines."""

# Event to the places of the paths among its arguments.
_CHANGES = {
    **dict.fromkeys(("os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.chmod", "os.utime"), (0,)),
    **dict.fromkeys(("shutil.rmtree", "shutil.chown"), (0,)),
    **dict.fromkeys(("os.rename", "os.link", "os.symlink", "shutil.move", "shutil.copyfile"), (0, 1)),
}
_RUNS = ("os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "subprocess.Popen", "socket.connect")
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


class Watch:
    """Collects what is done that a reader of files has no reason to do. One serves a process, for good.

    Attributes:
        seen: what was done since `begin`, in words.
    """

    def __init__(self) -> None:
        self.seen: list[str] = []
        self._folder: str | None = None
        sys.dont_write_bytecode = True  # Libraries that are imported late would.
        sys.addaudithook(self._hook)

    def begin(self, folder: Path) -> None:
        """From now on only `folder` may be written to."""
        self.seen, self._folder = [], os.path.realpath(folder)

    def end(self) -> None:
        """From now on all is allowed."""
        self._folder = None

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self._folder is None:
            return
        if event == "open":
            path, _, flags = arguments
            if isinstance(path, (str, bytes)) and isinstance(flags, int) and flags & _WRITING:
                self._written(event, path)
        elif event in _CHANGES:
            folder = next((value for value in arguments[1:] if type(value) is int and value >= 0), None)
            for place in _CHANGES[event]:
                if event in ("os.remove", "os.rmdir") and folder is not None:
                    self._written(event, os.path.join(f"/proc/self/fd/{folder}", os.fsdecode(arguments[place])))
                else:
                    self._written(event, arguments[place])
        elif event in _RUNS or (event == "import" and str(arguments[0]).partition(".")[0] == WITNESS):
            self.seen.append(f"{event} {arguments[0]!r}")

    def _written(self, event: str, path: Any) -> None:
        # What a link points to is what is changed.
        place = os.path.realpath(os.fsdecode(path)) if isinstance(path, (str, bytes, os.PathLike)) else ""
        inside = place == self._folder or place.startswith(f"{self._folder}{os.sep}")
        if place and not inside and not place.startswith("/dev/null"):
            self.seen.append(f"{event} {place}")
