"""How many draws the mechanisms that were asked for need, and when they may stop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from lightning_rs.checks import check_radii
from lightning_rs.mechanisms import Mechanism, required_fields, sequential_mechanisms
from lightning_rs.smoothing.batches import Plan, Sample


def certification_plan(
    mechanisms: Mapping[str, Mechanism],
    sigma: float,
    n0: int,
    n: int,
    alpha: float,
    radii: Sequence[float] | None = None,
    clean: bool = False,
) -> Plan:
    """The draws to certify an example with: n0 and n of them, or with sequential mechanisms n at most.

    Sequential mechanisms stop as soon as each of them knows at which of the `radii` the example is certified.

    Raises:
        ValueError: sequential mechanisms beside others, without selection draws, without radii, or with an n that
            certifies none of them.
    """
    fields = required_fields(mechanisms)
    sequential = sequential_mechanisms(mechanisms)
    if not sequential:
        return Plan((n,), n0, fields=fields, clean=clean)
    name = next(iter(sequential))
    if n0 < 1:
        raise ValueError(f"n0 must be at least 1 for {name}, which certifies the class that other draws selected")
    if radii is None:
        raise ValueError(f"{name} needs radii: it draws until it is known which of them are certified")
    radii = check_radii(radii)
    rules = [mechanism.stopping_rule(radii, sigma, n, alpha) for mechanism in sequential.values()]
    looks = np.unique(np.concatenate([rule.looks for rule in rules]))

    def finished(sample: Sample) -> bool:
        return all(rule.finished(sample.path) for rule in rules)

    return Plan(tuple(looks.tolist()), n0, fields=fields, clean=clean, finished=finished)
