"""The largest of several radii that follow from one and the same pair of bounds."""

from __future__ import annotations

import numpy as np

from lightning_rs.checks import check_known
from lightning_rs.mechanisms.vote_pair import VotePairMechanism
from lightning_rs.radii.pair import PAIR_RADII


class Ensemble(VotePairMechanism):
    """R = max over the members, each computed from the same (p_lower, p_upper). Hard, l2.

    alpha is spent once, on that pair: every member is a function of it and holds whenever the pair does. (A maximum
    over members with confidence bounds of their own would have to split alpha between them.) The published members are
    the default; adding `cohen_two_sided` makes all others redundant. Sound.

    Args:
        members: names in `lightning_rs.radii.PAIR_RADII` joined by +.
        top_share: share of alpha spent on the selected class, in (0, 1).
    """

    name = "ensemble"
    source = (
        "A. C. Cullen et al., It's Simplex! Disaggregating Measures to Improve Certified Robustness, 2023, Section 4"
    )

    def __init__(self, members: str = "cohen+li+cullen", top_share: float = 0.9) -> None:
        super().__init__(top_share)
        self.members = tuple(check_known("member of a hard ensemble", m, PAIR_RADII) for m in str(members).split("+"))

    def radius(self, pair, sigma):
        return np.max([PAIR_RADII[member](pair.lower, pair.upper, sigma) for member in self.members], axis=0)
