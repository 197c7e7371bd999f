"""A certification on disk: a directory with one `run.json` and one append-only file of records per process."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from lightning_rs.files import check_own_directory, lock, only_writer, remove_parts, replacing, write_whole
from lightning_rs.results.description import RunDescription, told
from lightning_rs.results.environment import Environment
from lightning_rs.results.lines import LineAppender, whole_line
from lightning_rs.results.records import Record
from lightning_rs.results.shard import FOLDERS
from lightning_rs.results.stored_records import StoredRecords, find_records, last_environment
from lightning_rs.results.verification import check_record


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
        return list(self.stored() or ())

    def stored(self) -> StoredRecords | None:
        """What `read` gives, read and examined part by part as it is gone through; None without any file of records.

        Raises:
            OSError, ValueError: see `find_records`.
        """
        files = self._files()
        if not files:
            return None
        if not self._description.exists():
            raise ValueError(f"{self.path} holds records but no run.json that says what they are of")
        return find_records(files, *RunDescription.examine(self._description))

    def origins(self) -> dict[int, Environment]:
        """Index of every finished example to where it was made, in the order of the files.

        Raises:
            OSError, ValueError: see `find_records`.
        """
        stored = self.stored()
        return {} if stored is None else stored.origins

    def environments(self) -> dict[Environment, int]:
        """Where the finished examples were made, each with their number.

        Raises:
            OSError, ValueError: see `find_records`.
        """
        stored = self.stored()
        return {} if stored is None else stored.environments

    def replace(self, records: Iterable[Record], origins: Mapping[int, Environment] | None = None) -> None:
        """Write these records instead of all that are there, one by one; if it fails, those that were there stay.

        The directory has to be `locked`. If it fails, or is stopped, where there was no record, `run.json` goes too.

        Args:
            records: each of another example.
            origins: index to where the draws were made; what `run.json` says where it is not said.

        Raises:
            OSError, ValueError: see `RecordAppender.append`.
        """
        run = self._known()
        said = run.environment  # Needs no line of its own.
        try:
            with replacing(self._file(0)) as part, part.open("wb") as file:
                for record in records:
                    environment = (origins or {}).get(record.index, run.environment)
                    if environment != said:
                        file.write(whole_line(environment.to_json().encode(), run.number))
                        said = environment
                    file.write(whole_line(_text(record, run), run.number))
        except BaseException:  # Stopped, too.
            self.discard_if_empty()
            raise
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
        if self._unsaid is not None and self._unsaid != last_environment(self._path, self._run):
            self.append_text(self._unsaid.to_json().encode())
        self._unsaid = None
        self.append_text(text)


def _text(record: Record, run: RunDescription) -> bytes:
    """A record as JSON."""
    try:
        text = record.to_json().encode()
        check_record(Record.from_json(text), run)
    except ValueError as error:
        raise ValueError(f"image {record.index} has no record that can be kept: {error}") from None
    return text
