"""Certification mechanisms: statistics in, certificates out. One family a file; this is the registry."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lightning_rs.checks import check_alpha, check_known
from lightning_rs.mechanisms.base import ABSTAIN, Certificate, Mechanism
from lightning_rs.mechanisms.cohen import Cohen, CohenTwoSided
from lightning_rs.mechanisms.radius import neyman_pearson_radius

MECHANISMS: dict[str, type[Mechanism]] = {mechanism.name: mechanism for mechanism in (Cohen, CohenTwoSided)}


def list_mechanisms() -> list[str]:
    """Names of all mechanisms, sorted."""
    return sorted(MECHANISMS)


def get_mechanism(name: str, **options: Any) -> Mechanism:
    """The mechanism of that name, with its options.

    Raises:
        ValueError: an unknown name (the error lists the known ones) or an option that the mechanism does not take.
    """
    mechanism = MECHANISMS[check_known("mechanism", name, MECHANISMS)]
    try:
        return mechanism(**options)
    except TypeError as error:
        raise ValueError(f"mechanism {name!r} does not take the options {options}: {error}") from None


def resolve_mechanisms(mechanisms: Sequence[str | Mechanism]) -> dict[str, Mechanism]:
    """Mechanisms by name, from names and objects, in the given order.

    Raises:
        ValueError: none at all, an unknown name, or a name twice.
    """
    if isinstance(mechanisms, str):
        mechanisms = [mechanisms]
    resolved = [get_mechanism(m) if isinstance(m, str) else m for m in mechanisms]
    names = [m.name for m in resolved]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"mechanisms must be one or more different names, got {names}")
    return dict(zip(names, resolved, strict=True))


def check_trials(mechanisms: dict[str, Mechanism], n: int, alpha: float) -> None:
    """Refuse an n with which a mechanism abstains on every input, however clear its votes.

    Raises:
        ValueError: names the mechanism and the least n that works.
    """
    alpha = check_alpha(alpha)
    for name, mechanism in mechanisms.items():
        least = mechanism.minimum_trials(alpha)
        if n < least:
            raise ValueError(f"{name} cannot certify anything with n = {n} at alpha = {alpha}: n must be >= {least}")


__all__ = [
    "ABSTAIN",
    "Certificate",
    "Mechanism",
    "check_trials",
    "get_mechanism",
    "list_mechanisms",
    "neyman_pearson_radius",
    "resolve_mechanisms",
]
