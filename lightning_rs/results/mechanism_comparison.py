"""Compare mechanisms over all pairs of class probabilities, and over the examples of a run.

Radii of hard mechanisms are functions of two numbers: E0, the probability of the certified class, and E1, that of its
strongest rival. Over the triangle of all pairs they can be compared without any data set; the examples of a run then
show which part of the triangle matters. Whoever takes the largest radius of each example needs `best`, which divides
alpha: `NO_JOINT_GUARANTEE`.

Source: A. C. Cullen et al., It's Simplex! Disaggregating Measures to Improve Certified Robustness, 2023.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lightning_rs.mechanisms import PAIR_RADII, list_mechanisms, parse_mechanism
from lightning_rs.results.plots import finish, new_figure
from lightning_rs.results.runs import Run

NO_JOINT_GUARANTEE = (
    "the largest of several mechanisms' radii has no joint guarantee at α; that of --mechanisms "
    "'[best:of=NAME+NAME+...]' has, which divides α among them"
)


@dataclass(frozen=True)
class Lead:
    """How one mechanism compares with the others.

    Attributes:
        mechanism: its name.
        share: share of the certified pairs or examples on which no other mechanism has a larger radius.
        alone: share on which its radius is larger than that of every other.
        gain: mean of radius / largest other radius - 1 over those on which it leads alone; inf where the others certify
            nothing on one of them, nan where there are none.
    """

    mechanism: str
    share: float
    alone: float
    gain: float


def leads(radii: Mapping[str, ArrayLike], tolerance: float = 1e-9) -> list[Lead]:
    """Which mechanism certifies most, for which share of the examples, and by how much.

    Args:
        radii: mechanism to its radii (B,), of the same examples.
        tolerance: relative difference below which radii count as equal.

    Raises:
        ValueError: fewer than two mechanisms, or radii of different lengths.
    """
    values = np.array([np.asarray(r, dtype=np.float64) for r in radii.values()])
    if len(values) < 2 or values.ndim != 2:
        raise ValueError(f"two or more mechanisms with radii of the same examples are compared, got {list(radii)}")
    values = values[:, values.max(axis=0) > 0]
    rows = []
    for i, mechanism in enumerate(radii):
        own, other = values[i], np.delete(values, i, axis=0).max(axis=0)
        alone = own > other * (1 + tolerance)
        with np.errstate(divide="ignore"):
            gain = float(np.mean(own[alone] / other[alone] - 1)) if alone.any() else np.nan
        share = float(np.mean(own >= other * (1 - tolerance))) if own.size else np.nan
        rows.append(Lead(mechanism, share, float(np.mean(alone)) if own.size else np.nan, gain))
    return rows


def leads_on_simplex(mechanisms: Sequence[str] = tuple(PAIR_RADII), points: int = 200) -> list[Lead]:
    """`leads` over all pairs (E0, E1), each as likely as every other: without any data set."""
    e0, e1, inside = _triangle(points)
    return leads({name: PAIR_RADII[name](e0[inside], e1[inside], 1.0) for name in mechanisms})


def leads_on_run(run: Run, smoothing: str = "hard") -> list[Lead]:
    """`leads` over the examples of a run, among the mechanisms that certify the same smoothed classifier in l2.

    Mechanisms that keep a confidence make another promise and are left out, as are labels of no registered mechanism.
    Empty with fewer than two mechanisms.
    """
    comparable = [label for label in run.certificates if _comparable(label, smoothing)]
    if len(comparable) < 2:
        return []
    return leads({label: run.certificates[label][1] for label in comparable})


def draw_simplex(
    path: str | Path,
    mechanisms: Sequence[str] = tuple(PAIR_RADII),
    reference: str = "cohen_two_sided",
    examples: tuple[ArrayLike, ArrayLike] | None = None,
    title: str = "",
    points: int = 300,
) -> None:
    """Draw the radius of each mechanism over all (E0, E1), and below it its ratio to the reference's.

    Args:
        path: PNG or SVG file.
        mechanisms: names in `PAIR_RADII`.
        reference: the name that ratios refer to.
        examples: E0 and E1 of a run's examples, drawn on top.
        title: what the examples are.
        points: resolution of the triangle.
    """
    e0, e1, inside = _triangle(points)
    radii = {name: np.full(e0.shape, np.nan) for name in {*mechanisms, reference}}
    for name, values in radii.items():
        values[inside] = PAIR_RADII[name](e0[inside], e1[inside], 1.0)
    figure, axes = new_figure(2, len(mechanisms), size=(2.9 * len(mechanisms) + 1.2, 5.8))
    with np.errstate(divide="ignore", invalid="ignore"):
        panels = [[radii[name] for name in mechanisms], [radii[name] / radii[reference] for name in mechanisms]]
    limits = ((0.0, 3.0), (0.0, 2.0))
    labels = ("radius / σ", f"radius / {reference}'s")
    colours = ("viridis", "RdBu_r")
    for row in range(2):
        for axis, name, values in zip(axes[row], mechanisms, panels[row], strict=True):
            low, high = limits[row]
            image = axis.pcolormesh(e0, e1, values, vmin=low, vmax=high, cmap=colours[row], rasterized=True)
            if examples is not None:
                axis.plot(*examples, ".", color="black", markersize=2, alpha=0.5)
            axis.set_xlim(0, 1)
            axis.set_ylim(0, 0.5)
            axis.set_title(name, fontsize=10)
            axis.set_xlabel("E0, certified class")
        axes[row][0].set_ylabel("E1, strongest rival")
        figure.colorbar(image, ax=list(axes[row]), label=labels[row])
    finish(figure, title or "All pairs of class probabilities", Path(path))


def _comparable(label: str, smoothing: str) -> bool:
    # A name that only a file says is not looked up elsewhere.
    if label.split(":")[0] not in list_mechanisms():
        return False
    try:
        mechanism = parse_mechanism(label)
    except ValueError:  # Options of another version.
        return False
    return mechanism.smoothing == smoothing and mechanism.norm == "l2" and mechanism.keeps == "class"


def _triangle(points: int) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """(E0, E1) at the middle of cells of [0, 1] x [0, 1/2], and which of them lie in E1 < E0 <= 1 - E1."""
    e0, e1 = np.meshgrid((np.arange(points) + 0.5) / points, (np.arange(points // 2) + 0.5) / points)
    return e0, e1, (e1 < e0) & (e0 + e1 <= 1)
