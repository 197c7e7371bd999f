"""Records on disk: a directory with one `run.json` and one append-only file of records per process."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from lightning_rs.mechanisms import Certificate
from lightning_rs.results.description import RunDescription
from lightning_rs.smoothing.sample import Sample
from lightning_rs.statistics import FIELDS, Statistics

# The votes stand beside the other statistics, under names of their own.
_VOTES = {"selection": "selection_counts", "counts": "counts"}


@dataclass(frozen=True)
class ExampleCertificate:
    """What one mechanism certified of one example.

    Attributes:
        prediction: class, or `ABSTAIN`.
        radius: certified radius in pixel units, 0 where it abstains.
        p_lower, p_upper: bounds on the probabilities of that class and of its rivals, where the mechanism has them.
        norm: of the radius.
        fallback: whether a simpler radius stands in, as the solver failed; None of mechanisms without a solver.
    """

    prediction: int
    radius: float
    p_lower: float | None = None
    p_upper: float | None = None
    norm: str = "l2"
    fallback: bool | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values; without `fallback` where there is no solver."""
        return {key: value for key, value in vars(self).items() if key != "fallback" or value is not None}


@dataclass(frozen=True)
class Record:
    """What is known of one certified example.

    Attributes:
        index: index in its split of the data set.
        label: true class.
        clean_prediction: the base classifier's answer without noise.
        selection: class to votes of the selection draws, only classes with votes.
        counts: class to votes of the estimation draws, only classes with votes.
        certificates: mechanism to what it certified.
        seconds: time that sampling and certifying took.
        statistics: the other fields of `Statistics` that the mechanisms asked for, but for single scores: a number, a
            list over the classes, or of a histogram the bins with draws.
    """

    index: int
    label: int
    clean_prediction: int
    selection: dict[int, int]
    counts: dict[int, int]
    certificates: dict[str, ExampleCertificate]
    seconds: float
    statistics: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, sample: Sample, label: int, statistics: Statistics, certificates: Mapping[str, Certificate]) -> Record:
        """The record of one example: its sample, the statistics of that alone, and what each mechanism made of them."""
        stored = statistics.to_plain()
        return cls(
            index=sample.index,
            label=label,
            clean_prediction=sample.clean_prediction,
            **{votes: stored.pop(name, {}) for votes, name in _VOTES.items()},
            certificates=certificates_in(certificates),
            seconds=sample.seconds,
            statistics=stored,
        )

    @property
    def plain_statistics(self) -> dict[str, Any]:
        """What `Statistics.to_plain` gave."""
        votes = {name: getattr(self, key) for key, name in _VOTES.items() if getattr(self, key)}
        return votes | self.statistics

    def to_json(self) -> str:
        """One line; floats are written so that they read back to the bit."""
        certificates = {name: certificate.to_dict() for name, certificate in self.certificates.items()}
        return json.dumps(vars(self) | {"certificates": certificates}, separators=(",", ":"))

    @classmethod
    def from_json(cls, line: str) -> Record:
        values = json.loads(line)
        for votes, name in _VOTES.items():
            values[votes] = FIELDS[name].storage.from_json(values[votes])
        values["certificates"] = {m: ExampleCertificate(**c) for m, c in values["certificates"].items()}
        for name, stored in values.get("statistics", {}).items():
            if name in FIELDS:
                values["statistics"][name] = FIELDS[name].storage.from_json(stored)
        record = cls(**values)
        if not record.counts:
            raise ValueError("it holds no votes")
        return record

    @property
    def selected(self) -> int:
        """The class that the selection votes chose (the estimation votes, without a selection stage)."""
        votes = self.selection or self.counts
        return min(votes, key=lambda c: (-votes[c], c))


def certificate_of(certificate: Certificate, row: int = 0) -> ExampleCertificate:
    """The certificate of one of B examples."""
    bounds = (None if p is None else float(p[row]) for p in (certificate.p_lower, certificate.p_upper))
    return ExampleCertificate(
        int(certificate.prediction[row]),
        float(certificate.radius[row]),
        *bounds,
        certificate.norm,
        None if certificate.fallback is None else bool(certificate.fallback[row]),
    )


def certificates_in(certificates: Mapping[str, Certificate], row: int = 0) -> dict[str, ExampleCertificate]:
    """The certificates of one of B examples."""
    return {label: certificate_of(certificate, row) for label, certificate in certificates.items()}


class RunDirectory:
    """A certification on disk.

    `run.json` says everything that makes the run comparable; `records-<process>.jsonl` holds one line per finished
    example, on the disk when it is finished. Opening the directory again with the same run goes on where it stopped.

    Args:
        path: the directory; made when the first process opens it.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def run(self) -> RunDescription | None:
        """The content of `run.json`; None if there is none yet.

        Raises:
            ValueError: as `RunDescription.read`.
        """
        file = self.path / "run.json"
        return RunDescription.read(file) if file.is_file() else None

    def check(self, run: RunDescription) -> None:
        """Refuse a directory that belongs to another run. `auto` stands for whatever was found then.

        Raises:
            ValueError: names what differs.
        """
        if not self.path.exists():
            return
        if not self.path.is_dir():
            raise ValueError(f"{self.path} is not a directory")
        known = self.run()
        if known is None:
            if any(self.path.glob("records-*.jsonl")):
                raise ValueError(f"{self.path} holds records but no run.json that says what they are of")
            return
        if differing := known.differences(run):
            parts = [f"{key} ({_short(there)} there, {_short(now)} now)" for key, (there, now) in differing.items()]
            raise ValueError(f"{self.path} holds another run; it differs in {', '.join(parts)}")

    def create(self, run: RunDescription) -> None:
        """Write `run.json`; one process does this, before any appends."""
        self.path.mkdir(parents=True, exist_ok=True)
        self._write("run.json", run.to_json())

    def read(self) -> list[Record]:
        """All finished examples of all processes, by index. A torn last line, from a run that was killed, is dropped.

        Raises:
            ValueError: a line that is not a record, with its file and number.
        """
        records: dict[int, Record] = {}
        for file in sorted(self.path.glob("records-*.jsonl")):
            lines = file.read_text(encoding="utf-8", errors="replace").split("\n")
            for number, line in enumerate(lines[:-1], start=1):  # What follows the last newline was torn.
                try:
                    record = Record.from_json(line)
                except (ValueError, TypeError, KeyError, AttributeError) as error:
                    raise ValueError(f"{file}, line {number}: not a record ({error})") from None
                records.setdefault(record.index, record)
        return [records[index] for index in sorted(records)]

    def replace(self, records: Sequence[Record]) -> None:
        """Write these records instead of all that are there; if it fails, those that were there stay."""
        self._write("records-0.jsonl", "".join(record.to_json() + "\n" for record in records))
        for file in self.path.glob("records-*.jsonl"):
            if file.name != "records-0.jsonl":
                file.unlink()

    def _write(self, name: str, text: str) -> None:
        """A whole file or, whatever happens, the one that was there."""
        temporary = self.path / f"{name}.part"
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, self.path / name)
        _sync_folder(self.path)

    def discard_if_empty(self) -> None:
        """Remove `run.json` and files without records, if no process has finished an example."""
        files = list(self.path.glob("records-*.jsonl"))
        if not any(file.stat().st_size for file in files):
            for file in (*files, self.path / "run.json"):
                file.unlink(missing_ok=True)

    def appender(self, process: int) -> RecordAppender:
        """The records file of one process, open for appending."""
        return RecordAppender(self.path / f"records-{process}.jsonl")


class RecordAppender:
    """Appends one line per finished example. A context manager.

    Each line is on the disk, not only in the system's memory, when `append` returns: what was finished survives a
    killed process and a power failure. A line that was cut off by either is dropped when the file is opened again.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("ab", buffering=0)
        _lock(self._file, path)
        _drop_torn_line(path)
        _sync_folder(path.parent)

    def append(self, record: Record) -> None:
        """Write a record.

        Raises:
            OSError: the disk is full, or fails; the records before it are kept.
        """
        line = (record.to_json() + "\n").encode()
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

    def __enter__(self) -> RecordAppender:
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()


def certificates_of(
    records: Sequence[Record], mechanism: str
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    """Predictions, radii and labels (B,) of one mechanism."""
    certificates = [record.certificates[mechanism] for record in records]
    return (
        np.array([c.prediction for c in certificates], dtype=np.int64),
        np.array([c.radius for c in certificates], dtype=np.float64),
        np.array([record.label for record in records], dtype=np.int64),
    )


def _sync_folder(path: Path) -> None:
    """Make the names of new files last. Some file systems cannot, and do not need it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _lock(file: BinaryIO, path: Path) -> None:
    """Keep other programs from appending to the file while it is open, where the system can."""
    try:
        import fcntl
    except ImportError:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ValueError(f"another certification is writing to {path}: let it end, or name another output") from None
    except OSError:  # Some network file systems have no locks.
        return


def _drop_torn_line(path: Path) -> None:
    with path.open("rb+") as file:
        content = file.read()
        file.truncate(content.rfind(b"\n") + 1)


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
