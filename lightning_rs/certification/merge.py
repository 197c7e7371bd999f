"""Merge the directories of one run, which separate commands certified parts of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from heapq import merge
from pathlib import Path

from lightning_rs.results import Environment, Record, RunDescription, RunDirectory, Shard
from lightning_rs.results.description import told
from lightning_rs.results.stored_records import StoredRecords

# Of missing images so many are named.
_NAMED = 5


@dataclass(frozen=True)
class Merged:
    """What several directories of a run hold together.

    Whoever goes through it gets the records by index; a part of them is in memory at a time.

    Attributes:
        run: all of it, whatever shard or environment.
        parts: what each of the directories holds that hold any.
        origins: index to where the record was made.
        shards: into how many the directories divide it; 0 if they do not, or not alike.
        notes: what could not be examined, in words.

    Raises:
        OSError, ValueError: while one goes through it: see `RunDirectory.read`; or two records of one image that differ
            in more than seconds.
    """

    run: RunDescription
    parts: tuple[StoredRecords, ...]
    origins: dict[int, Environment]
    shards: int
    notes: tuple[str, ...]

    def __iter__(self) -> Iterator[Record]:
        known: Record | None = None
        for record, part in merge(*map(_with_part, self.parts), key=lambda held: held[0].index):
            if known is None or record.index != known.index:
                known, first = record, part
                yield record
            elif replace(known, seconds=record.seconds) != record:
                there, here = first.places[record.index], part.places[record.index]
                raise ValueError(f"{here}: another record of image {record.index} than {there}")

    @property
    def missing(self) -> str | None:
        """Which examples that were asked for are not there, in words; None if none is missing."""
        asked = self.run.indices or ()
        lacking = set(asked) - self.origins.keys()
        if not lacking:
            return None
        if self.shards:
            shards = [Shard(number, self.shards) for number in range(1, self.shards + 1)]
            parts = [f"shard {shard} ({text})" for shard in shards if (text := _of(shard.of(asked), lacking))]
        else:
            parts = [_of(asked, lacking)]
        return f"missing {len(lacking):,} of {len(asked):,} images: {', '.join(parts)}"


def run_of_all(paths: Sequence[str | Path]) -> RunDescription:
    """The run of which directories hold parts.

    Args:
        paths: one or more directories. Their descriptions have to agree but for shards, environments and the order of
            the images.

    Raises:
        OSError: a file cannot be read.
        ValueError: a directory that stands there twice or holds no certification, or runs that differ; names the first.
    """
    directories = [RunDirectory(path) for path in paths]
    for place, directory in enumerate(directories):
        if directory.path.resolve() in {other.path.resolve() for other in directories[:place]}:
            raise ValueError(f"{directory.path} stands there twice: name every directory once")
    run = directories[0].existing_run().whole
    for directory in directories[1:]:
        if differing := run.differences(_in_order(directory.existing_run().whole, run)):
            raise ValueError(
                f"{directories[0].path} and {directory.path} are of different runs; they differ in "
                f"{told(differing, 'in the first', 'in the second')}"
            )
    return run


def merge_directories(paths: Sequence[str | Path]) -> Merged:
    """What directories of one run hold together: its shards, or whatever was certified of it, half-written ones too.

    Args:
        paths: directories whose runs agree.

    Raises:
        OSError: a file cannot be read.
        ValueError: see `run_of_all` and `RunDirectory.stored`.
    """
    run = run_of_all(paths)
    directories = [RunDirectory(path) for path in paths]
    held = {directory.path: stored for directory in directories if (stored := directory.stored())}
    origins: dict[int, Environment] = {}
    for part in held.values():
        origins |= {index: made for index, made in part.origins.items() if index not in origins}
    shards = {directory.existing_run().shard for directory in directories} - {None}
    counts = {Shard.parse(shard).count for shard in shards}
    notes = tuple(f"{path}: {note}" for path, part in held.items() for note in part.notes)
    return Merged(run, tuple(held.values()), origins, counts.pop() if len(counts) == 1 else 0, notes)


def _with_part(part: StoredRecords) -> Iterator[tuple[Record, StoredRecords]]:
    return ((record, part) for record in part)


def _in_order(run: RunDescription, first: RunDescription) -> RunDescription:
    """The run with its images in the order of the first one's, if they are the same."""
    same = run.indices and first.indices and set(run.indices) == set(first.indices)
    return replace(run, indices=first.indices) if same else run


def _of(part: Sequence[int], lacking: set[int]) -> str:
    """Which images of a part are lacking; empty if none is."""
    found = [index for index in part if index in lacking]
    if not found or len(found) == len(part):
        return f"all {len(part):,}" if found else ""
    named = ", ".join(map(str, found[:_NAMED])) + (", ..." if len(found) > _NAMED else "")
    return f"{len(found):,} of {len(part):,}: {named}"
