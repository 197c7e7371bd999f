"""What one check of an audit expected and saw."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Finding:
    """One line of the audit's table.

    Attributes:
        check: what kind of promise was tried: coverage, invariance, float attack, ...
        subject: of what: a mechanism and a classifier, say.
        expected: what has to hold, in words and numbers.
        seen: what came.
        passed: whether it holds.
        numbers: the same as plain values, for programs.
    """

    check: str
    subject: str
    expected: str
    seen: str
    passed: bool
    numbers: Mapping[str, float | int | str] = field(default_factory=dict)
