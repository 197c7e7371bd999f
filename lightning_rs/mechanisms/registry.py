"""The mechanisms by name, and how a user names one with its options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lightning_rs.checks import check_alpha, check_known
from lightning_rs.mechanisms.base import Mechanism
from lightning_rs.mechanisms.cohen import Cohen, CohenTwoSided
from lightning_rs.mechanisms.cullen import Cullen, CullenSoft
from lightning_rs.mechanisms.delattre import Delattre
from lightning_rs.mechanisms.ensemble import Ensemble
from lightning_rs.mechanisms.kumar import KumarMargin, KumarScore
from lightning_rs.mechanisms.lecuyer import Lecuyer, LecuyerSoft
from lightning_rs.mechanisms.li import Li
from lightning_rs.mechanisms.lipschitz import Lipschitz
from lightning_rs.mechanisms.mohapatra import MohapatraChannel, MohapatraL1, MohapatraL2, MohapatraLinf
from lightning_rs.mechanisms.moutaouakil import Moutaouakil, MoutaouakilSoft
from lightning_rs.mechanisms.salman import Salman
from lightning_rs.mechanisms.sequential import SequentialBetting, SequentialMechanism, SequentialUnion
from lightning_rs.mechanisms.voracek import Voracek

MECHANISMS: dict[str, type[Mechanism]] = {
    mechanism.name: mechanism
    for mechanism in (
        Cohen,
        CohenTwoSided,
        Lecuyer,
        Li,
        Cullen,
        Ensemble,
        Delattre,
        Voracek,
        Moutaouakil,
        Salman,
        LecuyerSoft,
        CullenSoft,
        Lipschitz,
        MoutaouakilSoft,
        KumarScore,
        KumarMargin,
        MohapatraL2,
        MohapatraL1,
        MohapatraLinf,
        MohapatraChannel,
        SequentialBetting,
        SequentialUnion,
    )
}


def list_mechanisms() -> list[str]:
    """Names of all mechanisms, sorted."""
    return sorted(MECHANISMS)


def get_mechanism(name: str, **options: Any) -> Mechanism:
    """The mechanism of that name, with its options.

    Raises:
        ValueError: an unknown name (the error lists the known ones), or an option that the mechanism does not take or
            that is out of its range.
    """
    cls = MECHANISMS[check_known("mechanism", name, MECHANISMS)]
    try:
        mechanism = cls(**options)
    except TypeError as error:
        raise ValueError(f"mechanism {name!r} does not take the options {options}: {error}") from None
    mechanism.label = ":".join([name, *([",".join(f"{k}={v}" for k, v in options.items())] if options else [])])
    return mechanism


def parse_mechanism(text: str) -> Mechanism:
    """The mechanism that a text names: `name` or `name:option=value,option=value`, as in `kumar_score:confidence=0.7`.

    Values are numbers where they can be read as such, otherwise words.

    Raises:
        ValueError: as `get_mechanism`, or a text of another form.
    """
    name, _, rest = text.partition(":")
    options = {}
    for part in filter(None, rest.split(",")):
        key, equals, value = part.partition("=")
        if not (equals and key.isidentifier() and value):
            raise ValueError(f"a mechanism must read name or name:option=value,option=value, got {text!r}")
        if key in options:
            raise ValueError(f"option {key} is given twice in {text!r}")
        options[key] = _value(value)
    return get_mechanism(name, **options)


def resolve_mechanisms(mechanisms: Sequence[str | Mechanism]) -> dict[str, Mechanism]:
    """Mechanisms by label, from texts (see `parse_mechanism`) and objects, in the given order.

    Raises:
        ValueError: none at all, an unknown name, or the same mechanism with the same options twice.
    """
    if isinstance(mechanisms, str):
        mechanisms = [mechanisms]
    resolved = [parse_mechanism(m) if isinstance(m, str) else m for m in mechanisms]
    labels = [m.label or m.name for m in resolved]
    if not labels or len(set(labels)) < len(labels):
        raise ValueError(f"mechanisms must be one or more different ones, got {labels}")
    return dict(zip(labels, resolved, strict=True))


def required_fields(mechanisms: Mapping[str, Mechanism]) -> frozenset[str]:
    """Fields of `Statistics` that any of the mechanisms reads."""
    return frozenset().union(*(mechanism.requires for mechanism in mechanisms.values()))


def sequential_mechanisms(mechanisms: Mapping[str, Mechanism]) -> dict[str, SequentialMechanism]:
    """The mechanisms that let drawing stop early: all of the given ones, or none.

    Raises:
        ValueError: some do and others need a number of draws that is fixed in advance; names one of each.
    """
    sequential = {label: m for label, m in mechanisms.items() if isinstance(m, SequentialMechanism)}
    fixed = [label for label in mechanisms if label not in sequential]
    if sequential and fixed:
        raise ValueError(
            f"{fixed[0]} needs a number of draws that is fixed in advance, so it cannot be used beside "
            f"{next(iter(sequential))}, which stops when the answer is known"
        )
    return sequential


def check_trials(mechanisms: Mapping[str, Mechanism], n: int, alpha: float) -> None:
    """Refuse an n with which a mechanism abstains on every input, however clear its votes.

    Raises:
        ValueError: names the mechanism and the least n that works.
    """
    alpha = check_alpha(alpha)
    least = {label: mechanism.minimum_trials(alpha) for label, mechanism in mechanisms.items()}
    label = max(least, key=lambda name: least[name])
    if n < least[label]:
        raise ValueError(
            f"{label} cannot certify anything with n = {n} at alpha = {alpha}: n must be >= {least[label]}"
        )


def check_inputs(mechanisms: Mapping[str, Mechanism], shape: tuple[int, ...], alpha: float) -> None:
    """Refuse inputs of a shape that one of the mechanisms cannot certify: see `Mechanism.check_input`."""
    for mechanism in mechanisms.values():
        mechanism.check_input(tuple(shape), alpha)


def _value(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text
