"""Files of lines with check sums that are only appended to: each line is whole, or it is not there."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, TypeVar

from lightning_rs.files import lock, sync_folder
from lightning_rs.results.check_sums import LINE

Self = TypeVar("Self", bound="LineAppender")

_BLOCK = 2**16


class Place(NamedTuple):
    """Where a line stands: its file, its number there, and the byte at which it begins. As text, for messages."""

    path: Path
    number: int
    start: int

    def __str__(self) -> str:
        return f"{self.path}, line {self.number}"


class LineAppender:
    """Appends JSON objects, one a line. A context manager.

    Each line is on the disk, not only in the system's memory, when `append_text` returns: what was finished survives a
    killed process and a power failure. A line that was cut off by either is dropped when the file is opened again.

    Args:
        path: the file.
        number: what the lines' check sums begin at, so that they fit to nothing else.
        kind: what is written, for messages: a certification, say.

    Raises:
        ValueError: another program is writing to it.
    """

    def __init__(self, path: Path, number: int, kind: str) -> None:
        self._path, self._number = path, number
        self._file = path.open("ab", buffering=0)
        try:
            lock(self._file.fileno(), path, kind)
            _drop_torn_line(path)
        except BaseException:
            self._file.close()
            raise
        sync_folder(path.parent)

    def append_text(self, text: bytes) -> None:
        """Write an object.

        Raises:
            OSError: the disk is full, or fails; the lines before it are kept.
        """
        line = whole_line(text, self._number)
        end = os.fstat(self._file.fileno()).st_size
        try:
            while line:
                line = line[self._file.write(line) :]
            os.fsync(self._file.fileno())
        except OSError as error:
            with suppress(OSError):
                self._file.truncate(end)
            raise OSError(
                f"{self._path} cannot be written ({error.strerror}): the examples finished before are kept; "
                "make room, and start the same command again to go on"
            ) from error

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()


def whole_line(text: bytes, number: int) -> bytes:
    """An object as it is written."""
    return LINE.add(text, number) + b"\n"


def read_lines(path: Path, number: int, other: str) -> Iterator[tuple[Place, bytes, bool]]:
    """Of every line its place, the object without its check sum, and whether it has one; one line is in memory.

    What follows the last line feed was torn, and is left out.

    Args:
        path: the file.
        number: what its check sums begin at.
        other: what a line with another check sum may be of, for messages.

    Raises:
        OSError: the file cannot be read.
        ValueError: a check sum that does not fit, with the file and the line.
    """
    start = 0
    with path.open("rb") as file:
        for count, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                return
            place = Place(path, count, start)
            yield place, *_taken(line, place, number, other)
            start += len(line)


def lines_at(places: Sequence[Place], number: int, other: str) -> list[bytes]:
    """The objects at these places, in their order, without their check sums. Each file is opened once.

    Args:
        places: as `read_lines` gave them.
        number, other: as for `read_lines`.

    Raises:
        OSError, ValueError: as `read_lines`.
    """
    found: dict[Place, bytes] = {}
    for path in dict.fromkeys(place.path for place in places):
        with path.open("rb") as file:
            for place in (place for place in places if place.path == path):
                file.seek(place.start)
                found[place] = _taken(file.readline(), place, number, other)[0]
    return [found[place] for place in places]


def _taken(line: bytes, place: Place, number: int, other: str) -> tuple[bytes, bool]:
    """The object in a line, and whether it has a check sum."""
    try:
        return LINE.take(line.removesuffix(b"\n"), number)
    except ValueError as error:
        raise ValueError(f"{place}: {error}: the line was changed, or is of {other}") from None


def _drop_torn_line(path: Path) -> None:
    with path.open("rb+") as file:
        end = file.seek(0, os.SEEK_END)
        while end:  # A block at a time, from the end: files may be larger than memory.
            begin = max(end - _BLOCK, 0)
            file.seek(begin)
            if (last := file.read(end - begin).rfind(b"\n")) >= 0:
                end = begin + last + 1
                break
            end = begin
        file.truncate(end)
