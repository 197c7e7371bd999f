"""Plots of a certification, as PNG files. matplotlib is imported when a plot is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lightning_rs.results.records import Record, certificates_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's palette, which colour-blind readers can tell apart; line styles tell overlapping curves apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
STYLES = ("-", "--", "-.", ":")


def certified_accuracy(records: Sequence[Record], title: str, path: Path) -> None:
    """Certified accuracy against radius, one step curve per mechanism."""
    mechanisms = list(records[0].certificates)
    crowded = len(mechanisms) > 5
    figure, axes = new_figure(size=(9.0, 4.8) if crowded else (6.4, 4.2))
    for i, mechanism in enumerate(mechanisms):
        x, y = curve(records, mechanism)
        style = {"color": COLOURS[i % len(COLOURS)], "linestyle": STYLES[i % len(STYLES)], "linewidth": 1.8}
        axes.step(x, 100 * y, where="post", label=mechanism, **style)
    axes.set_xlabel("radius r, l2 unless the mechanism says otherwise (pixels in [0, 1])")
    axes.set_ylabel("certified accuracy (%)")
    axes.set_xlim(left=0)
    axes.set_ylim(0, 101)
    if crowded:
        figure.legend(title="mechanism", frameon=False, loc="outside right upper", fontsize=8)
    else:
        axes.legend(title="mechanism", frameon=False)
    axes.grid(color="0.9", linewidth=0.6)
    finish(figure, title, path)


def vote_shares(records: Sequence[Record], title: str, path: Path) -> None:
    """Share of noisy copies that vote for the selected class, examples in ascending order, right and wrong ones."""
    figure, axes = new_figure()
    shares = np.array([r.counts.get(r.selected, 0) / sum(r.counts.values()) for r in records])
    right = np.array([r.selected == r.label for r in records])
    order = np.argsort(shares, kind="stable")
    position = 100 * (np.arange(len(records)) + 0.5) / len(records)
    for mask, colour, marker, label in ((right, COLOURS[0], ".", "right"), (~right, COLOURS[1], "x", "wrong")):
        chosen = mask[order]
        count = f"{label} ({int(mask.sum())})"
        axes.plot(position[chosen], shares[order][chosen], marker, color=colour, markersize=5, label=count)
    axes.axhline(0.5, color="0.5", linewidth=0.8, linestyle=":")
    axes.set_xlabel("examples, sorted (%)")
    axes.set_ylabel("share of votes for the selected class")
    axes.set_ylim(0, 1.02)
    axes.legend(title="selected class", frameon=False)
    axes.grid(color="0.9", linewidth=0.6)
    finish(figure, title, path)


def curve(records: Sequence[Record], mechanism: str) -> tuple[np.ndarray, np.ndarray]:
    """The exact step curve of certified accuracy: radii ascending from 0, and the share of examples above each."""
    prediction, radius, label = certificates_of(records, mechanism)
    right = np.sort(np.where(prediction == label, radius, 0.0))
    x = np.unique(np.concatenate([[0.0], right]))
    return x, 1.0 - np.searchsorted(right, x, side="right") / len(right)


def new_figure(rows: int = 1, columns: int = 1, size: tuple[float, float] = (6.4, 4.2)) -> tuple[Figure, Any]:
    """A figure that draws without a display, and its axes: one, or an array (rows, columns)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=rows * columns == 1)


def finish(figure: Figure, title: str, path: Path) -> None:
    """Give every axis the house style, the figure its title, and write the file."""
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title, fontsize=10)
    figure.savefig(path, dpi=160)
