"""The mechanisms of one certification: what they need together, when drawing may stop, and their certificates."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lightning_rs.checks import check_alpha, check_radii, check_several, shown
from lightning_rs.mechanisms.base import Certificate, Mechanism
from lightning_rs.mechanisms.registry import load_mechanism
from lightning_rs.mechanisms.sequential import SequentialMechanism
from lightning_rs.statistics import Statistics, fields_from
from lightning_rs.statistics.fields import Source


@dataclass(frozen=True)
class Schedule:
    """Numbers of draws after which to look, and whether what was seen at the looks so far is enough.

    Attributes:
        looks: increasing; drawing ends after the last.
        finished: (successes, draws) at every look so far -> whether more draws change nothing; None if there is only
            one look.
    """

    looks: tuple[int, ...]
    finished: Callable[[Sequence[tuple[int, int]]], bool] | None = None


class MechanismSet(Mapping[str, Mechanism]):
    """Mechanisms by label, in the given order: the one road from statistics to certificates.

    Args:
        mechanisms: texts of the user's (see `load_mechanism`) and objects.

    Raises:
        ValueError: none at all, what is neither a name nor a mechanism, an unknown name, the same mechanism with the
            same options twice, or some that let drawing stop early beside others that need a fixed number of draws.
    """

    def __init__(self, mechanisms: Sequence[str | Mechanism]) -> None:
        mechanisms = check_several("mechanisms", [mechanisms] if isinstance(mechanisms, str) else mechanisms)
        resolved = [load_mechanism(m) if isinstance(m, str) else m for m in mechanisms]
        if others := [m for m in resolved if not isinstance(m, Mechanism)]:
            raise ValueError(f"mechanisms must be names or Mechanism objects, got {shown(others[0])}")
        labels = [m.label or m.name for m in resolved]
        if not labels or len(set(labels)) < len(labels):
            raise ValueError(f"mechanisms must be one or more different ones, got {labels}")
        self._mechanisms = dict(zip(labels, resolved, strict=True))
        self.sequential = {label: m for label, m in self.items() if isinstance(m, SequentialMechanism)}
        fixed = [label for label in self if label not in self.sequential]
        if self.sequential and fixed:
            raise ValueError(
                f"{fixed[0]} needs a number of draws that is fixed in advance, so it cannot be used beside "
                f"{next(iter(self.sequential))}, which stops when the answer is known"
            )

    @property
    def fields(self) -> frozenset[str]:
        """Fields of `Statistics` that any of the mechanisms reads."""
        return required_fields(self)

    def check_trials(self, n: int, alpha: float) -> None:
        """Refuse an n with which a mechanism abstains on every input, however clear its votes.

        Raises:
            ValueError: names the mechanism and the least n that works.
        """
        alpha = check_alpha(alpha)
        if self.sequential and alpha > 0.4:
            raise ValueError(f"alpha must be at most 0.4 for sequential mechanisms, got {alpha}")
        least = {label: mechanism.minimum_trials(alpha) for label, mechanism in self.items()}
        label = max(least, key=lambda name: least[name])
        if n < least[label]:
            raise ValueError(
                f"{label} cannot certify anything with n = {n} at alpha = {alpha}: n must be >= {least[label]}"
            )

    def refuse_prior(self) -> None:
        """Refuse mechanisms that read the votes of a classifier before, where there is none.

        Raises:
            ValueError: names the mechanism.
        """
        for label, mechanism in self.items():
            if mechanism.requires & fields_from(Source.PRIOR):
                raise ValueError(
                    f"{label} certifies a changed classifier from the records of the one before: give --like DIR"
                )

    def check_noise(self, noise: str) -> None:
        """Refuse a noise for which the radius of one of the mechanisms does not hold: see `Mechanism.check_noise`."""
        for mechanism in self.values():
            mechanism.check_noise(noise)

    def check_stochastic(self) -> None:
        """Refuse mechanisms that do not hold for random base classifiers: see `Mechanism.check_stochastic`."""
        for mechanism in self.values():
            mechanism.check_stochastic()

    def check_input(self, shape: Sequence[int], alpha: float) -> None:
        """Refuse inputs of a shape that one of the mechanisms cannot certify: see `Mechanism.check_input`."""
        check_inputs(self, shape, alpha)

    def schedule(
        self, sigma: float, n0: int, n: int, alpha: float, radii: Sequence[float] | None = None
    ) -> Schedule:
        """When to look at the draws: after all n of them, or as often as sequential mechanisms want.

        These stop as soon as each of them knows at which of the `radii` the example is certified.

        Raises:
            ValueError: mechanisms that need selection draws without any; sequential ones without radii, or with an n
                that certifies none of them.
        """
        if n0 < 1:
            for mechanism in self.values():
                mechanism.refuse_same_sample()
        if not self.sequential:
            return Schedule((n,))
        name = next(iter(self.sequential))
        if radii is None:
            raise ValueError(f"{name} needs radii: it draws until it is known which of them are certified")
        radii = check_radii(radii)
        rules = [mechanism.stopping_rule(radii, sigma, n, alpha) for mechanism in self.sequential.values()]
        looks = np.unique(np.concatenate([rule.looks for rule in rules]))
        return Schedule(tuple(looks.tolist()), lambda path: all(rule.finished(path) for rule in rules))

    def certify(self, statistics: Statistics, alpha: float) -> dict[str, Certificate]:
        """Label to the certificates that each mechanism gives, all from the same statistics."""
        return {label: mechanism.certify(statistics, alpha) for label, mechanism in self.items()}

    def kept(self, statistics: Statistics) -> Statistics:
        """What records keep of statistics: of gradient sums what the mechanisms read, unless one wants all of them."""
        if statistics.gradient_sums is None:
            return statistics
        found = [m.regions(statistics.input_shape) for m in self.values() if "gradient_sums" in m.requires]
        if not found or None in found:
            return statistics
        return statistics.collapsed({name: mask for regions in found for name, mask in regions.items()})

    def __getitem__(self, label: str) -> Mechanism:
        return self._mechanisms[label]

    def __iter__(self) -> Iterator[str]:
        return iter(self._mechanisms)

    def __len__(self) -> int:
        return len(self._mechanisms)


def resolve_mechanisms(mechanisms: Sequence[str | Mechanism]) -> MechanismSet:
    """The set of these mechanisms: see `MechanismSet`."""
    return MechanismSet(mechanisms)


def required_fields(mechanisms: Mapping[str, Mechanism]) -> frozenset[str]:
    """Fields of `Statistics` that any of the mechanisms reads."""
    return frozenset().union(*(mechanism.requires for mechanism in mechanisms.values()))


def sequential_mechanisms(mechanisms: Mapping[str, Mechanism]) -> dict[str, SequentialMechanism]:
    """The mechanisms that let drawing stop early: all of the given ones, or none, see `MechanismSet`."""
    return MechanismSet(list(mechanisms.values())).sequential if mechanisms else {}


def check_trials(mechanisms: Mapping[str, Mechanism], n: int, alpha: float) -> None:
    """See `MechanismSet.check_trials`."""
    MechanismSet(list(mechanisms.values())).check_trials(n, alpha)


def check_inputs(mechanisms: Mapping[str, Mechanism], shape: Sequence[int], alpha: float) -> None:
    """See `Mechanism.check_input`."""
    for mechanism in mechanisms.values():
        mechanism.check_input(tuple(shape), alpha)
