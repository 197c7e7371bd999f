"""The largest of several mechanisms' radii, with a guarantee for all of them together."""

from __future__ import annotations

import numpy as np

from lightning_rs.checks import alpha_share
from lightning_rs.mechanisms.base import Certificate, Mechanism, certificate_of_selected
from lightning_rs.mechanisms.registry import parse_mechanism
from lightning_rs.statistics import Statistics

_LEAST = 2


class Best(Mechanism):
    """R = max over the m members, each at alpha / m: the union bound. It certifies the class that selection chose.

    A mechanism's radius fails with probability alpha by itself; the largest of m of them, chosen by the same draws,
    with up to m alpha. Divided, the members hold all at once with probability 1 - alpha, whatever their bounds have in
    common. Members that are functions of one and the same bounds need no division: that is `ensemble`. Sound.

    Members certify one and the same classifier in one norm: all hard, that is its majority vote; or all soft, that is
    its largest expected score. Votes beside scores are refused, as are members that keep a confidence, each another
    one, that certify within pixels of their own, or that stop drawing early.

    Args:
        of: names of two or more mechanisms joined by +, with their options if any, these divided by semicolons:
            `cohen+mohapatra_l2:estimator=half`, `cohen_two_sided:top_share=0.8+moutaouakil`.
    """

    name = "best"
    source = "the union bound; C. E. Bonferroni, Teoria statistica delle classi e calcolo delle probabilita, 1936"

    def __init__(self, of: str = "cohen_two_sided+mohapatra_l2") -> None:
        self.members = tuple(parse_mechanism(text.replace(";", ",")) for text in str(of).split("+"))
        labels = [member.label for member in self.members]
        if len(labels) < _LEAST or len(set(labels)) < len(labels):
            raise ValueError(f"best must be of two or more different mechanisms, as in cohen+moutaouakil, got {of}")
        for member in self.members:
            self._check_member(member)
        self.smoothing, self.norm = self.members[0].smoothing, self.members[0].norm
        self.noises = frozenset.intersection(*(member.noises for member in self.members))
        self.requires = frozenset().union(*(member.requires for member in self.members))
        self.costly = any(member.costly for member in self.members)

    def _check_member(self, member: Mechanism) -> None:
        first = self.members[0]
        refusal = None
        if member.smoothing != first.smoothing:
            refusal = f"{member.label} is {member.smoothing} and {first.label} {first.smoothing}, two classifiers"
        elif member.norm != first.norm:
            refusal = f"{member.label} certifies in {member.norm} and {first.label} in {first.norm}"
        elif member.norm == "l2_subspace":
            refusal = f"{member.label} certifies within pixels of its own"
        elif member.keeps != "class":
            refusal = f"{member.label} certifies a {member.keeps} of its own"
        elif "look_counts" in member.requires:
            refusal = f"{member.label} stops drawing when its own answer is known"
        if refusal:
            raise ValueError(f"best takes no largest radius of these: {refusal}")

    def check_noise(self, noise: str) -> None:
        for member in self.members:
            member.check_noise(noise)

    def check_stochastic(self) -> None:
        for member in self.members:
            member.check_stochastic()

    def check_input(self, shape: tuple[int, ...], alpha: float) -> None:
        for member in self.members:
            member.check_input(shape, self._share(alpha))

    def refuse_looks(self) -> None:
        for member in self.members:
            member.refuse_looks()

    def minimum_trials(self, alpha: float) -> int:
        return min(member.minimum_trials(self._share(alpha)) for member in self.members)

    def _certify(self, statistics: Statistics, alpha: float) -> Certificate:
        # What is taken from alpha beforehand, for inexact draws and for selecting by the same votes, is taken once.
        found = [member._certify(statistics, self._share(alpha)) for member in self.members]
        radii = [np.where(one.prediction == statistics.selected, one.radius, 0.0) for one in found]
        return certificate_of_selected(statistics, np.max(radii, axis=0))

    def _share(self, alpha: float) -> float:
        return alpha_share(alpha, len(self.members))
