"""A certification on disk: a directory with one `run.json` and one append-only file of records per process."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from lightning_rs.files import check_own_directory, lock, only_writer, remove_parts, write_whole
from lightning_rs.results.description import RunDescription, told
from lightning_rs.results.environment import Environment, is_environment
from lightning_rs.results.lines import LineAppender, read_lines, whole_line
from lightning_rs.results.records import Record, index_in
from lightning_rs.results.shard import FOLDERS
from lightning_rs.results.verification import Contradiction, check_record, verify


class RunDirectory:
    """A certification on disk.

    `run.json` says everything that makes the run comparable, and is written once; `records-<process>.jsonl` holds one
    line per finished example, on the disk when it is finished, below a line of the `Environment` it was made in.
    Opening the directory again with the same run goes on where it stopped.

    Args:
        path: the directory; made when the first process opens it.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def run(self) -> RunDescription | None:
        """The content of `run.json`; None if there is none yet.

        Raises:
            OSError, ValueError: as `RunDescription.read`.
        """
        return RunDescription.read(self._description) if self._description.exists() else None

    def existing_run(self) -> RunDescription:
        """The content of `run.json`, which has to be there.

        Raises:
            OSError, ValueError: as `RunDescription.read`; or there is none.
        """
        if (run := self.run()) is None:
            raise ValueError(f"{self.path} is not the directory of a certification: it holds no run.json")
        return run

    def check(self, run: RunDescription) -> None:
        """Refuse a directory that belongs to another run, or to something else than a certification.

        A seed `random` stands for whatever was drawn then.

        Raises:
            ValueError: names what differs.
        """
        check_own_directory(self.path, self._description.name, "a certification", beside=FOLDERS)
        known = self.run()
        if known is not None and (differing := known.differences(run)):
            raise ValueError(f"{self.path} holds another run; it differs in {told(differing)}")

    def create(self, run: RunDescription) -> None:
        """Write `run.json` unless there is one; one process does this, before any appends."""
        self.path.mkdir(parents=True, exist_ok=True)
        if not self._description.exists():
            write_whole(self._description, run.to_json())

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps other programs from writing to the directory meanwhile, where the system can; makes it if need be.

        Raises:
            ValueError: another program is writing to it.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        descriptor = only_writer(self.path, "certification")
        try:
            for path in self._files():  # A process that its first one left behind may still be writing.
                with path.open("rb+") as file:
                    lock(file.fileno(), path, "certification")
            remove_parts(self.path)
            yield
        finally:
            if descriptor is not None:
                os.close(descriptor)
            with suppress(OSError):  # It stays unless it is empty.
                self.path.rmdir()

    def read(self) -> list[Record]:
        """All finished examples of all processes, by index. A torn last line, from a run that was killed, is dropped.

        What is returned is what was written: check sums fit, records are such as the run can give, and certificates
        follow from the statistics.

        Raises:
            OSError: a file cannot be read.
            ValueError: a line that is not such a record, with its file and number.
        """
        return self.examine()[0]

    def examine(self) -> tuple[list[Record], list[str]]:
        """As `read`, and what could not be examined, in words."""
        if not self._files():
            return [], []
        if not self._description.exists():
            raise ValueError(f"{self.path} holds records but no run.json that says what they are of")
        run, checked = RunDescription.examine(self._description)
        asked = None if run.asked is None else frozenset(run.asked)
        found: dict[int, _Line] = {}
        unchecked = 0
        for place, text, has_sum, _ in self._lines(run):
            line = _Line(_record(text, run, place), place, has_sum)
            if checked and not line.checked:
                raise ValueError(f"{place}: it has no check sum, and run.json has one: the line was changed")
            index = line.record.index
            if asked is not None and index not in asked:
                raise ValueError(f"{place}: image {index} is none of those that run.json names")
            known = found.setdefault(index, line)
            if known is not line and replace(known.record, seconds=line.record.seconds) != line.record:
                raise ValueError(f"{place}: another record of image {index} than {known.place}")
            unchecked += not line.checked
        lines = [found[index] for index in sorted(found)]
        records = [line.record for line in lines]
        try:
            notes = verify(records, run)
        except Contradiction as error:
            raise ValueError(f"{lines[error.position].place}: {error}") from None
        if unchecked or not checked:
            silent = [f"{unchecked:,} of {len(lines):,} records"] * bool(unchecked) + ["run.json"] * (not checked)
            notes.insert(0, f"no check sum in {' and '.join(silent)}, as older versions wrote them")
        return records, notes

    def origins(self) -> dict[int, Environment]:
        """Index of every finished example to where it was made, in the order of the files.

        Raises:
            OSError, ValueError: see `read`.
        """
        found: dict[int, Environment] = {}
        for place, text, _, environment in self._lines(self._known()) if self._files() else ():
            try:
                found.setdefault(index_in(text), environment)
            except ValueError as error:
                raise ValueError(f"{place}: not a record ({error})") from None
        return found

    def place(self, index: int) -> str:
        """File and line of the record of a finished example."""
        return next(place for place, text, *_ in self._lines(self._known()) if index_in(text) == index)

    def environments(self) -> dict[Environment, int]:
        """Where the finished examples were made, each with their number.

        Raises:
            OSError, ValueError: see `read`.
        """
        return dict(Counter(self.origins().values()))

    def replace(self, records: Sequence[Record], origins: Mapping[int, Environment] | None = None) -> None:
        """Write these records instead of all that are there; if it fails, those that were there stay.

        The directory has to be `locked`.

        Args:
            records: each of another example.
            origins: index to where the draws were made; what `run.json` says where it is not said.

        Raises:
            OSError, ValueError: see `RecordAppender.append`.
        """
        run = self._known()
        made: dict[Environment, list[bytes]] = {run.environment: []}  # Needs no line of its own.
        for record in records:
            environment = (origins or {}).get(record.index, run.environment)
            made.setdefault(environment, [environment.to_json().encode()]).append(_text(record, run))
        write_whole(self._file(0), b"".join(whole_line(text, run.number) for part in made.values() for text in part))
        for file in self._files():
            if file != self._file(0):
                file.unlink()

    def discard_if_empty(self) -> None:
        """Remove `run.json` and files without records, if no process has finished an example."""
        if not any(file.stat().st_size for file in self._files()):
            for file in (*self._files(), self._description):
                file.unlink(missing_ok=True)

    def appender(self, process: int, environment: Environment | None = None) -> RecordAppender:
        """The records file of one process, open for appending; `run.json` has to be there."""
        return RecordAppender(self._file(process), self._known(), environment)

    @property
    def _description(self) -> Path:
        return self.path / "run.json"

    def _known(self) -> RunDescription:
        return RunDescription.read(self._description)

    def _lines(self, run: RunDescription) -> Iterator[tuple[str, bytes, bool, Environment]]:
        """Of every record of all files its place, its text, whether it had a check sum, and where it was made."""
        for file in self._files():
            yield from _read_records(file, run)

    def _file(self, process: int) -> Path:
        return self.path / f"records-{process}.jsonl"

    def _files(self) -> list[Path]:
        return sorted(self.path.glob("records-*.jsonl"))


class RecordAppender(LineAppender):
    """Appends one line per finished example, see `LineAppender`.

    Args:
        path: the file.
        run: the content of the `run.json` beside it.
        environment: where the records are made; said in a line before the first, unless the file says it already. None
            says nothing.

    Raises:
        ValueError: another program is writing to it.
    """

    def __init__(self, path: Path, run: RunDescription, environment: Environment | None = None) -> None:
        super().__init__(path, run.number, "certification")
        self._run, self._unsaid = run, environment

    def append(self, record: Record) -> None:
        """Write a record.

        Raises:
            ValueError: it would not be read again, with the reason; nothing is written.
            OSError: the disk is full, or fails; the records before it are kept.
        """
        text = _text(record, self._run)
        # Not before there is a record: a file without any is empty.
        if self._unsaid is not None and self._unsaid != _last_environment(self._path, self._run):
            self.append_text(self._unsaid.to_json().encode())
        self._unsaid = None
        self.append_text(text)


@dataclass(frozen=True)
class _Line:
    """A record, its file and line, and whether that carries a check sum."""

    record: Record
    place: str
    checked: bool


def _read_records(path: Path, run: RunDescription) -> Iterator[tuple[str, bytes, bool, Environment]]:
    """Of every record of a file what `RunDirectory._lines` gives."""
    environment = run.environment
    for place, text, has_sum in read_lines(path, run.number, "another run than run.json says"):
        if is_environment(text):
            if not has_sum:
                raise ValueError(f"{place}: it has no check sum: the line was changed")
            try:
                environment = Environment.from_json(text)
            except ValueError as error:
                raise ValueError(f"{place}: not an environment ({error})") from None
        else:
            yield place, text, has_sum, environment


def _last_environment(path: Path, run: RunDescription) -> Environment:
    """Where the last record of a file was made."""
    made = [environment for *_, environment in _read_records(path, run)]
    return made[-1] if made else run.environment


def _text(record: Record, run: RunDescription) -> bytes:
    """A record as JSON."""
    try:
        text = record.to_json().encode()
        check_record(Record.from_json(text), run)
    except ValueError as error:
        raise ValueError(f"image {record.index} has no record that can be kept: {error}") from None
    return text


def _record(text: bytes, run: RunDescription, place: str) -> Record:
    """The record in a line."""
    try:
        record = Record.from_json(text)
    except ValueError as error:
        raise ValueError(f"{place}: not a record ({error})") from None
    try:
        check_record(record, run)
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from None
    return record
