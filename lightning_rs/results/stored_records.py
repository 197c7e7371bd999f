"""The records of a run on disk, read when they are asked for: a part of them is in memory at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import overload

from lightning_rs.results.description import RunDescription
from lightning_rs.results.environment import Environment, is_environment
from lightning_rs.results.lines import Place, lines_at, read_lines
from lightning_rs.results.records import Record, index_in
from lightning_rs.results.verification import Contradiction, check_record, not_verified, verified

_OTHER = "another run than run.json says"
# How many lines are looked up at once.
_PART = 100


class StoredRecords(Sequence[Record]):
    """The records of a run on disk, by index; what is in memory is where each begins.

    Whoever goes through them gets each once its certificates have been computed again, in parts; single ones and slices
    are records that the run can give.

    Args:
        run: what they are of.
        places: index to its line.
        origins: index to where the record was made.
        unsaid: what has no check sum, in words; empty where all has.

    Raises:
        OSError, ValueError: whenever records are read: see `RunDirectory.read`.
    """

    def __init__(
        self,
        run: RunDescription,
        places: Mapping[int, Place],
        origins: Mapping[int, Environment],
        unsaid: str = "",
    ) -> None:
        self.run, self.places, self.origins = run, dict(places), dict(origins)
        self.indices = tuple(sorted(places))
        self._places = [places[index] for index in self.indices]
        self._unsaid = unsaid

    @property
    def notes(self) -> list[str]:
        """What cannot be examined, in words."""
        notes = not_verified(self, self.run)
        return [f"no check sum in {self._unsaid}, as older versions wrote them", *notes] if self._unsaid else notes

    @property
    def environments(self) -> dict[Environment, int]:
        """Where the records were made, each with their number."""
        return dict(Counter(self.origins.values()))

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, position: int) -> Record: ...

    @overload
    def __getitem__(self, position: slice) -> list[Record]: ...

    def __getitem__(self, position: int | slice) -> Record | list[Record]:
        if isinstance(position, slice):
            return _records_at(self._places[position], self.run)
        return _records_at([self._places[position]], self.run)[0]

    def __iter__(self) -> Iterator[Record]:
        parts = (self[start : start + _PART] for start in range(0, len(self), _PART))
        try:
            yield from verified(chain.from_iterable(parts), len(self), self.run)
        except Contradiction as error:
            raise ValueError(f"{self._places[error.position]}: {error}") from None


def find_records(files: Sequence[Path], run: RunDescription, checked: bool) -> StoredRecords:
    """The records in the files of a run, none of which has to fit into memory. Those of one index have to be equal.

    Args:
        files: of records.
        run: what they are of.
        checked: whether `run.json` has a check sum; then each record needs one.

    Raises:
        OSError: a file cannot be read.
        ValueError: a line that has no index, or one that was not asked for, another check sum than its own, or another
            record of an index than a line before it; with its file and number.
    """
    asked = None if run.asked is None else frozenset(run.asked)
    places: dict[int, Place] = {}
    origins: dict[int, Environment] = {}
    unchecked = 0
    for file in files:
        for place, text, has_sum, environment in read_records(file, run):
            index = _index_in(text, place)
            if checked and not has_sum:
                raise ValueError(f"{place}: it has no check sum, and run.json has one: the line was changed")
            if asked is not None and index not in asked:
                raise ValueError(f"{place}: image {index} is none of those that run.json names")
            known = places.setdefault(index, place)
            origins.setdefault(index, environment)
            if known is not place:
                _check_equal(known, place, run)
            unchecked += not has_sum
    silent = [f"{unchecked:,} of {len(places):,} records"] * bool(unchecked) + ["run.json"] * (not checked)
    return StoredRecords(run, places, origins, " and ".join(silent))


def read_records(path: Path, run: RunDescription) -> Iterator[tuple[Place, bytes, bool, Environment]]:
    """Of every record of a file its place, its text, whether it had a check sum, and where it was made.

    Raises:
        OSError, ValueError: see `read_lines`; or a line of an environment that is none.
    """
    return (line for line in _lines(path, run) if not is_environment(line[1]))


def last_environment(path: Path, run: RunDescription) -> Environment:
    """Where a record that followed the last line of a file would be said to be made.

    Raises:
        OSError, ValueError: see `read_records`.
    """
    return [run.environment, *(environment for *_, environment in _lines(path, run))][-1]


def _lines(path: Path, run: RunDescription) -> Iterator[tuple[Place, bytes, bool, Environment]]:
    """As `read_records`, with the lines of environments among them, each with the one that it says."""
    environment = run.environment
    for place, text, has_sum in read_lines(path, run.number, _OTHER):
        if is_environment(text):
            if not has_sum:
                raise ValueError(f"{place}: it has no check sum: the line was changed")
            try:
                environment = Environment.from_json(text)
            except ValueError as error:
                raise ValueError(f"{place}: not an environment ({error})") from None
        yield place, text, has_sum, environment


def _index_in(text: bytes, place: Place) -> int:
    try:
        return index_in(text)
    except ValueError as error:
        raise ValueError(f"{place}: not a record ({error})") from None


def _check_equal(known: Place, place: Place, run: RunDescription) -> None:
    """Refuse a record that says something else of its image than the one before it, but for the time that it took."""
    before, now = _records_at([known, place], run)
    if replace(before, seconds=now.seconds) != now:
        raise ValueError(f"{place}: another record of image {now.index} than {known}")


def _records_at(places: Sequence[Place], run: RunDescription) -> list[Record]:
    """The records in these lines, each of which the run can give."""
    found = []
    for place, text in zip(places, lines_at(places, run.number, _OTHER), strict=True):
        try:
            record = Record.from_json(text)
        except ValueError as error:
            raise ValueError(f"{place}: not a record ({error})") from None
        try:
            check_record(record, run)
        except ValueError as error:
            raise ValueError(f"{place}: {error}") from None
        found.append(record)
    return found
