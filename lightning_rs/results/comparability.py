"""Which runs can be compared: the same images, certified with the same effort and the same failure probability."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import reduce
from typing import Any

import numpy as np

from lightning_rs.results.runs import Run

# Sigma, weights, architecture and mechanisms are what is compared; seeds, devices and batches make no difference.
_SAME = ("data", "split", "n0", "n", "alpha", "pixel_range")
# Nobody is asked for these: where nothing is said of them, there is one attempt.
_DIVIDED = ("attempts",)


def differences(a: Run, b: Run) -> list[str]:
    """What keeps two runs from being compared, in words; what one of them does not say counts as equal."""
    said = {key: (a.said(key), b.said(key)) for key in (*_SAME, *_DIVIDED)}
    found = [
        f"{key}: {_text(of_a)} in {a.name}, {_text(of_b)} in {b.name}"
        for key, (of_a, of_b) in said.items()
        if of_a != of_b and None not in (of_a, of_b)
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


def with_common_images(runs: Sequence[Run]) -> tuple[list[Run], list[str]]:
    """The runs, each with the examples whose indices all of them have, and how many of its own these are.

    Raises:
        ValueError: there is no such example.
    """
    shared = reduce(np.intersect1d, [run.index for run in runs])
    if not len(shared):
        raise ValueError(f"no image is common to all {len(runs)} sources")
    of = [(run.name, f"{len(shared):,} of {len(run):,} images, those that all have") for run in runs]
    return [run.restricted(shared) for run in runs], merged(of)


def merged(notes: Iterable[tuple[str, str]]) -> list[str]:
    """Notes as lines, from the name of what they are of and their text; those with the same text become one line."""
    names: dict[str, list[str]] = {}
    for name, text in notes:
        names.setdefault(text, []).append(name)
    return [f"{_names(of)}: {text}" for text, of in names.items()]


def remarks(runs: Sequence[Run]) -> list[str]:
    """What a reader of a comparison has to know: what differs between the groups, and what some runs do not say."""
    first, *others = comparable_groups(runs)
    found = []
    for other in others:
        reason = next(what for a in first for b in other if (what := differences(a, b)))
        found.append(f"not comparable, so in tables of their own: {'; '.join(reason)}")
    said = [run for run in runs if run.description]
    if len({(run.description.noise, run.description.quantized) for run in said}) > 1:
        found += merged((run.name, f"noise {run.description.noise_title}") for run in said)
    if len(runs) > 1:
        silent = {run.name: [key for key in ("sigma", *_SAME) if run.said(key) is None] for run in runs}
        found += merged(
            (name, f"{', '.join(keys)} not said, so whether they agree is not checked")
            for name, keys in silent.items()
            if keys
        )
    return found


def _names(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 4 else f"{len(names)} runs ({names[0]}, {names[1]}, ...)"


def _text(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)
