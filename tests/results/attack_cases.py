"""Five images under attack, whose figures can be told by hand: one abstained, wrong, not broken, violated."""

from dataclasses import replace

import numpy as np
from run_cases import DESCRIPTION

from lightning_rs.results.attack_figures import AttackedCertificates, AttackedRun

COHEN = AttackedCertificates(
    norm="l2",
    prediction=np.array([1, 2, 0, -1, 5]),
    radius=np.array([0.5, 0.4, 0.3, 0.0, 0.2]),
    distance=np.array([0.8, np.inf, 0.6, 0.0, 0.1]),
)
LINF = replace(COHEN, norm="linf", radius=COHEN.radius / 8, distance=COHEN.distance / 4)
RUN = AttackedRun(DESCRIPTION, 0.001, np.array([3, 5, 7, 9, 11]), np.arange(1, 6), {"cohen": COHEN, "a_b|c": LINF})
RADII = (0.0, 0.25, 0.6)


def broken(count, of):
    """A run of so many certificates of one mechanism, of which `count` are violated."""
    distance = np.where(np.arange(of) < count, 0.4, 0.9)
    ones = AttackedCertificates("l2", np.ones(of, dtype=np.int64), np.full(of, 0.5), distance)
    return replace(RUN, index=np.arange(of), label=np.ones(of, dtype=np.int64), certificates={"cohen": ones})
