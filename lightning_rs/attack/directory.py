"""An attack on disk: a directory with one `attack.json` and one append-only file of outcomes."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from lightning_rs.attack.outcome import Attacked, Outcome
from lightning_rs.files import check_own_directory, only_writer, remove_parts, write_whole
from lightning_rs.results import schema
from lightning_rs.results.check_sums import FILE
from lightning_rs.results.description import told
from lightning_rs.results.lines import LineAppender, read_lines
from lightning_rs.results.schema import Answer, Count, NotNegative, Word

MARK = "attack.json"

# JSON has no infinity: no distance is null.
_Attacked = schema.strict(Attacked, prediction=Answer, radius=NotNegative, distance=NotNegative | None)
_Outcome = schema.strict(
    Outcome, index=Count, label=Count, attacked=dict[Word, _Attacked], points=Count, method=Word, seconds=NotNegative
)


class AttackDirectory:
    """An attack on disk.

    `attack.json` says what is attacked and how, and is written once; `attacks.jsonl` holds one line per finished image,
    on the disk when it is finished. Opening the directory again with the same attack goes on where it stopped.

    Args:
        path: the directory; made by `locked`.
        about: everything that an outcome depends on beside the image, in plain values.
    """

    def __init__(self, path: str | Path, about: Mapping[str, Any]) -> None:
        self.path = Path(path)
        self._about: dict[str, Any] = json.loads(json.dumps(about))
        # What the check sums of its lines begin at, so that they fit to no other attack.
        self._number = zlib.crc32(json.dumps(self._about, sort_keys=True).encode())

    def check(self) -> None:
        """Refuse a directory that belongs to another attack, or to something else.

        Raises:
            OSError: a file cannot be read.
            ValueError: names what differs.
        """
        check_own_directory(self.path, MARK, "an attack")
        known = self._known()
        if known is None:
            return
        pairs = {key: (known.get(key), self._about.get(key)) for key in sorted({*known, *self._about})}
        if differing := {key: (there, now) for key, (there, now) in pairs.items() if there != now}:
            raise ValueError(f"{self.path} holds another attack; it differs in {told(differing)}")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Makes the directory this attack's, and keeps other programs from writing to it meanwhile, where it can.

        Raises:
            ValueError: another program is writing to it; or see `check`.
        """
        self.check()
        self.path.mkdir(parents=True, exist_ok=True)
        descriptor = only_writer(self.path, "attack")
        try:
            remove_parts(self.path)
            self.check()  # Another program may just have made it its own.
            if not (self.path / MARK).exists():
                text = json.dumps(self._about, indent=2) + "\n"
                write_whole(self.path / MARK, FILE.add(text.encode()))
            yield
        finally:
            self._discard_if_empty()
            if descriptor is not None:
                os.close(descriptor)

    def read(self) -> list[Outcome]:
        """All finished images, in the order in which they finished. A torn last line, of a kill, is left out.

        Raises:
            OSError: the file cannot be read.
            ValueError: a line that is no outcome of this attack, with its number.
        """
        if not self._file.exists():
            return []
        found: dict[int, Outcome] = {}
        for place, text, checked in read_lines(self._file, self._number, f"another attack than {MARK} says"):
            if not checked:
                raise ValueError(f"{place}: it has no check sum: the line was changed")
            try:
                outcome = _outcome(text)
            except ValueError as error:
                raise ValueError(f"{place}: not an outcome ({error})") from None
            if found.setdefault(outcome.index, outcome) is not outcome:
                raise ValueError(f"{place}: image {outcome.index} stands there twice")
        return list(found.values())

    def appender(self) -> OutcomeAppender:
        """The file of outcomes, open for appending."""
        return OutcomeAppender(self._file, self._number, "attack")

    def _discard_if_empty(self) -> None:
        """Without a single outcome, a failed attack leaves no directory that would refuse a corrected one."""
        if not self._file.exists() or not self._file.stat().st_size:
            for file in (self._file, self.path / MARK):
                file.unlink(missing_ok=True)
            with suppress(OSError):  # It stays unless it is empty.
                self.path.rmdir()

    @property
    def _file(self) -> Path:
        return self.path / "attacks.jsonl"

    def _known(self) -> dict[str, Any] | None:
        path = self.path / MARK
        if not path.exists():
            return None
        try:
            return schema.decode(FILE.take(path.read_bytes())[0], dict[str, Any])
        except ValueError as error:
            raise ValueError(f"{path} cannot be read: {error}") from None


class OutcomeAppender(LineAppender):
    """Appends one line per finished image, see `LineAppender`."""

    def append(self, outcome: Outcome) -> None:
        """Write an outcome.

        Raises:
            OSError: the disk is full, or fails; the outcomes before it are kept.
        """
        attacked = {
            name: vars(one) | {"distance": one.distance if one.distance < float("inf") else None}
            for name, one in outcome.attacked.items()
        }
        plain = vars(outcome) | {"attacked": attacked}
        self.append_text(json.dumps(plain, separators=(",", ":"), allow_nan=False).encode())


def _outcome(text: bytes) -> Outcome:
    values = schema.said(schema.decode(text, _Outcome))
    found = {name: schema.said(one) for name, one in values["attacked"].items()}
    attacked = {
        name: Attacked(**one | {"distance": float("inf") if one["distance"] is None else one["distance"]})
        for name, one in found.items()
    }
    return Outcome(**values | {"attacked": attacked})
