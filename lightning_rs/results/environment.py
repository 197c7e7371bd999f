"""Environments: where and with what records were made, which need not be the same within a certification."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from typing import Any

import msgspec

from lightning_rs.results import schema
from lightning_rs.results.schema import Positive, Word

_BEGIN = b'{"environment":'


@dataclass(frozen=True, kw_only=True)
class Environment:
    """Where and with what records were made.

    Votes of one environment are the same to the bit whoever draws them. In another one a net's sums may round
    otherwise, and other devices draw other noise. Draws of every image are independent of those of all others, so that
    certificates hold; docs/soundness.md says what a sequential one pays for an image that was begun in another one.

    A file of records says it in lines of its own, each of which holds for the records that follow it.

    Attributes:
        device: where the base classifier was run.
        driver: of the device; None on a CPU.
        batch_size: noisy copies per call of the base classifier.
        versions: of the packages that the numbers depend on.
        commit: of this package's own checkout; None if it was installed otherwise.

    Raises:
        ValueError: what a file of records does not take.
    """

    device: Word | None = None
    driver: Word | None = None
    batch_size: Positive | None = None
    versions: dict[Word, Word] = field(default_factory=dict, hash=False)
    commit: Word | None = None

    def __post_init__(self) -> None:
        schema.check(vars(self), _strict())

    @classmethod
    def from_json(cls, line: bytes) -> Environment:
        """The environment in a line that `to_json` gave.

        Raises:
            ValueError: it is none, with the reason.
        """
        return cls(**schema.said(schema.decode(line, _header()).environment))

    def to_json(self) -> str:
        """One line."""
        return json.dumps({"environment": vars(self)}, separators=(",", ":"))

    @property
    def facts(self) -> dict[str, Any]:
        """All that it says, with the packages by their names."""
        others = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "versions"}
        return others | self.versions


def is_environment(line: bytes) -> bool:
    """Whether a line of a file of records is one of an environment."""
    return line.startswith(_BEGIN)


def tell_apart(environments: Iterable[Environment]) -> dict[Environment, str]:
    """What each of them says of that in which they differ, in words."""
    facts = {environment: environment.facts for environment in environments}
    names = dict.fromkeys(name for said in facts.values() for name in said)
    differing = [name for name in names if len({said.get(name) for said in facts.values()}) > 1]
    return {
        environment: ", ".join(f"{name} {_shown(said.get(name))}" for name in differing)
        for environment, said in facts.items()
    }


def note_of(environments: Mapping[Environment, int]) -> str | None:
    """What may have moved votes between the images of a run, from the number of images of each of its environments."""
    if len(environments) < 2:
        return None
    words = tell_apart(environments)
    parts = "; ".join(f"{count:,} images with {words[environment]}" for environment, count in environments.items())
    return f"made in {len(environments)} environments, which may move votes: {parts}"


def change_of(environments: Mapping[Environment, int], now: Environment) -> str | None:
    """What differs now from how the records of a run were made; None where nothing does."""
    if not environments.keys() - {now}:
        return None
    words = tell_apart([now, *environments])
    before = "; ".join(
        f"{count:,} records were made with {words[environment]}"
        for environment, count in environments.items()
        if environment != now
    )
    return f"goes on with {words[now]}; {before}"


def _shown(value: Any) -> str:
    return "not said" if value is None else str(value) if len(str(value)) < 40 else f"{str(value)[:12]}..."


@cache
def _strict() -> type[msgspec.Struct]:
    return schema.strict(Environment)


@cache
def _header() -> type[msgspec.Struct]:
    return msgspec.defstruct("Header", [("environment", _strict())], forbid_unknown_fields=True)
