"""One thing that an audit tries, by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from lightning_rs.audit.finding import Finding


@dataclass(frozen=True)
class Case:
    """A part of an audit that can be run by itself.

    Attributes:
        name: what it is called, unlike every other; a test, or somebody with a doubt, runs one by its name.
        run: makes its findings, each as soon as it is known.
        cost: about how many seconds of one core it takes, for the estimate of the time left.
    """

    name: str
    run: Callable[[], Iterator[Finding]]
    cost: float = 0.3
