"""Which runs can be compared: the same images, certified with the same effort and the same failure probability."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np

from lightning_rs.results.runs import Run

# Sigma, weights, architecture and mechanisms are what is compared; seeds, devices and batches make no difference.
_SAME = ("data", "split", "n0", "n", "alpha", "pixel_range")


def differences(a: Run, b: Run) -> list[str]:
    """What keeps two runs from being compared, in words; what one of them does not say counts as equal."""
    differing = a.description.differences(b.description) if a.description and b.description else {}
    found = [
        f"{key}: {_text(differing[key][0])} in {a.name}, {_text(differing[key][1])} in {b.name}"
        for key in _SAME
        if key in differing and None not in differing[key]
    ]
    if not np.array_equal(a.index, b.index):
        shared = len(np.intersect1d(a.index, b.index))
        found.append(f"images: {len(a)} in {a.name}, {len(b)} in {b.name}, {shared} in both")
    elif not np.array_equal(a.label, b.label):
        found.append(f"labels: {int((a.label != b.label).sum())} of {len(a)} differ between {a.name} and {b.name}")
    return found


def comparable_groups(runs: Sequence[Run]) -> list[list[Run]]:
    """The runs in groups within which all can be compared, in the given order."""
    groups: list[list[Run]] = []
    for run in runs:
        group = next((g for g in groups if not any(differences(other, run) for other in g)), None)
        if group is None:
            groups.append([run])
        else:
            group.append(run)
    return groups


def remarks(runs: Sequence[Run]) -> list[str]:
    """What a reader of a comparison has to know: what differs between the groups, and what some runs do not say."""
    groups = comparable_groups(runs)
    found = []
    for first, second in combinations(groups, 2):
        reason = next(what for a in first for b in second if (what := differences(a, b)))
        found.append(f"not comparable, so in tables of their own: {'; '.join(reason)}")
    said = {run.name: run.description for run in runs if run.description}
    if len({(about.noise, about.quantized) for about in said.values()}) > 1:
        found.append(f"noise: {'; '.join(f'{name} {about.noise_title}' for name, about in said.items())}")
    for run in runs:
        silent = [key for key in ("sigma", *_SAME) if getattr(run.description, key, None) is None]
        if silent and len(runs) > 1:
            found.append(f"{run.name} does not say its {', '.join(silent)}: whether they agree is not checked")
    return found


def _text(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)
