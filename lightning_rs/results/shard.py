"""Shards: the parts in which separate commands certify one run."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

FOLDERS = "shard-*-of-*"
"""Pattern of the folders' names."""


@dataclass(frozen=True)
class Shard:
    """Every `count`-th example, beginning with the `number`-th, so that all shards cost about the same.

    Attributes:
        number: from 1 to `count`.
        count: how many there are.

    Raises:
        ValueError: a number out of range.
    """

    number: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.count:
            raise ValueError(f"shard i/N must have 1 <= i <= N, got {self}")

    @classmethod
    def parse(cls, text: str) -> Shard:
        """The shard that `i/N` names.

        Raises:
            ValueError: another form, or numbers out of range.
        """
        found = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
        if found is None:
            raise ValueError(f"shard must be i/N, as in 3/10, got {text!r}")
        return cls(*map(int, found.groups()))

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    @property
    def folder(self) -> str:
        """What its directory is called in that of the run."""
        return f"shard-{self.number}-of-{self.count}"

    def of(self, indices: Sequence[int]) -> tuple[int, ...]:
        """Its part of the examples."""
        return tuple(indices[self.number - 1 :: self.count])
