"""Plots of certifications, as PNG and SVG. matplotlib is imported when a plot is drawn."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from lightning_rs.files import replacing
from lightning_rs.results.escaping import plot_text
from lightning_rs.results.runs import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's palette, which colour-blind readers can tell apart; line styles tell overlapping curves apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
STYLES = ("-", "--", "-.", ":")
NORMS = {"l2": r"$\ell_2$", "l1": r"$\ell_1$", "linf": r"$\ell_\infty$", "l2_subspace": r"subspace $\ell_2$"}
# Of a title, to an inch.
_LETTERS = 13
_PROBABILITIES = (0.1, 0.3, 0.5, 0.7, 0.9, 0.99, 0.999, 0.9999, 0.99999)


def certified_accuracy(
    radii: Mapping[str, NDArray[np.float64]],
    title: str,
    path: Path,
    legend: str = "mechanism",
    envelope: bool = False,
    norm: str = "l2",
) -> None:
    """Certified accuracy against radius, one exact step curve for each entry.

    Args:
        radii: name to the radii (B,), 0 where the prediction is wrong or missing.
        title: what was certified.
        path: PNG file; an SVG is written beside it.
        legend: what the names are.
        norm: of the radii.
        envelope: draw the largest of all curves too: what can be reached by choosing for each radius.
    """
    figure, axes, outside = _curves_figure(len(radii) + envelope)
    curves = {name: curve(values) for name, values in radii.items()}
    end = max(float(x[np.isfinite(x)][-1]) for x, _ in curves.values()) or 1.0
    for i, (name, (x, y)) in enumerate(curves.items()):
        # Beyond the largest radius nothing is certified: the curve goes on at 0, so that all end at the same place.
        axes.step([*x, end * 1.03], [*(100 * y), 0.0], where="post", label=plot_text(name), **_style(i))
    if envelope:
        x, y = largest(list(curves.values()))
        axes.step(x, 100 * y, where="post", label="envelope", color="0.25", linewidth=4.5, alpha=0.3, zorder=1)
    axes.set_xlabel(f"{NORMS.get(norm) or plot_text(norm)} radius $r$ (pixels in [0, 1])")
    axes.set_ylabel("certified accuracy (%)")
    axes.set_xlim(0, end * 1.03)
    axes.set_ylim(0, 101)
    _legend(figure, axes, legend, outside)
    finish(figure, title, path)


def share_ecdf(runs: Sequence[Run], title: str, path: Path) -> None:
    """Share of images whose selected class has at most a given share of the votes: the distribution of p_A.

    The axis is scaled by the normal quantile, so that equal distances are equal radii. Unanimous votes n of n stand at
    (n + 1/2) / (n + 1).
    """
    figure, axes, outside = _curves_figure(len(runs))
    scaled = []
    for i, run in enumerate(runs):
        x = np.sort(_quantile(run.share, run.votes))
        scaled.append(x)
        y = 100 * np.arange(1, len(x) + 1) / len(x)
        axes.step([x[0], *x], [0.0, *y], where="post", label=plot_text(run.name), **_style(i))
    low, high = min(x[0] for x in scaled), max(x[-1] for x in scaled)
    _probability_axis(axes.xaxis, low, high)
    axes.set_xlim(low - 0.15, high + 0.15)
    axes.set_xlabel(r"share of votes for the selected class, estimate of $p_A$")
    axes.set_ylabel("images with at most this share (%)")
    axes.set_ylim(0, 101)
    if len(runs) > 1:
        _legend(figure, axes, "run", outside)
    else:
        axes.grid(color="0.9", linewidth=0.6)
    finish(figure, title, path)


def draws_ecdf(runs: Sequence[Run], title: str, path: Path) -> None:
    """Share of images that needed at most a given number of draws, selection included."""
    figure, axes, outside = _curves_figure(len(runs))
    for i, run in enumerate(runs):
        x = np.sort(run.votes + run.said("n0"))
        y = 100 * np.arange(1, len(x) + 1) / len(x)
        axes.step([x[0], *x], [0.0, *y], where="post", label=plot_text(run.name), **_style(i))
    axes.set_xscale("log")
    axes.set_xlabel("noisy copies of an image")
    axes.set_ylabel("images with at most so many (%)")
    axes.set_ylim(0, 101)
    if len(runs) > 1:
        _legend(figure, axes, "run", outside)
    else:
        axes.grid(color="0.9", linewidth=0.6)
    finish(figure, title, path)


def radius_confidence(run: Run, mechanisms: Sequence[str], title: str, path: Path) -> None:
    """Certified radius against the share of votes for the selected class, one point for each image and mechanism.

    The curve is sigma Phi^-1(share): the radius if the share were the probability itself.
    """
    figure, axes, outside = _curves_figure(len(mechanisms) + 2)
    x = _quantile(run.share, run.votes)
    for i, mechanism in enumerate(mechanisms):
        prediction, radius = run.certificates[mechanism]
        certified = prediction >= 0
        right = prediction == run.label
        colour = COLOURS[i % len(COLOURS)]
        axes.scatter(x[certified & right], radius[certified & right], s=13, color=colour, alpha=0.6, linewidth=0)
        axes.scatter(x[certified & ~right], radius[certified & ~right], s=16, color=colour, marker="x", linewidth=0.9)
        axes.scatter([], [], s=22, color=colour, label=plot_text(mechanism))
    axes.scatter([], [], s=22, color="0.3", marker="x", linewidth=0.9, label="wrong prediction")
    low, high = float(x.min()), float(x.max())
    line = np.linspace(max(0.0, low), high, 200)
    if run.sigma and high > 0:
        axes.plot(line, run.sigma * line, color="0.5", linewidth=1, linestyle=":", label=r"$\sigma\,\Phi^{-1}$(share)")
    _probability_axis(axes.xaxis, low, high)
    axes.set_xlabel(r"share of votes for the selected class, estimate of $p_A$")
    norms = {run.norm(mechanism) for mechanism in mechanisms}
    norm = next(iter(norms))
    own = f"certified {NORMS.get(norm) or plot_text(norm)} radius"
    axes.set_ylabel(own if len(norms) == 1 else "certified radius, each in its norm")
    axes.set_ylim(bottom=0)
    _legend(figure, axes, "mechanism", outside)
    finish(figure, title, path)


def curve(radii: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The exact step curve of certified accuracy: radii ascending from 0, and the share of examples above each."""
    ascending = np.sort(radii)
    x = np.unique(np.concatenate([[0.0], ascending]))
    return x, 1.0 - np.searchsorted(ascending, x, side="right") / len(ascending)


def largest(curves: Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]]) -> tuple[NDArray, NDArray]:
    """The envelope of step curves: at every radius the largest of all."""
    x = np.unique(np.concatenate([x for x, _ in curves]))
    return x, np.max([ys[np.searchsorted(xs, x, side="right") - 1] for xs, ys in curves], axis=0)


def new_figure(rows: int = 1, columns: int = 1, size: tuple[float, float] = (6.4, 4.2)) -> tuple[Figure, Any]:
    """A figure that draws without a display, and its axes: one, or an array (rows, columns)."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=rows * columns == 1)


def finish(figure: Figure, title: str, path: Path) -> None:
    """Give every axis the house style, the figure its title, and write the file as PNG and as SVG."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
    # A legend beside the axes begins at the height of the title, which ends before it.
    place, share = ({"x": 0.02, "ha": "left"}, 0.65) if figure.legends else ({}, 1.0)
    lines = textwrap.wrap(plot_text(title, 200), int(share * _LETTERS * figure.get_figwidth()))
    figure.suptitle("\n".join(lines), fontsize=10, **place)
    # Text stays text, so that it can be searched and edited.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "lightning_rs"}):
        with replacing(path.with_suffix(".png")) as part:
            figure.set_dpi(200)
            # `savefig` would draw twice: what stands where is worked out here, as it is drawn, and once for both files.
            FigureCanvasAgg(figure).print_png(part)
        figure.set_layout_engine("none")
        with replacing(path.with_suffix(".svg")) as part:
            FigureCanvasSVG(figure).print_svg(part, metadata={"Date": None})


def _curves_figure(curves: int) -> tuple[Figure, Any, bool]:
    """A figure for so many curves, its axes, and whether the legend stands outside."""
    outside = curves > 5
    figure, axes = new_figure(size=(8.2, 4.2) if outside else (6.0, 4.0))
    return figure, axes, outside


def _style(i: int) -> dict[str, Any]:
    # After one round of colours the styles go on where they were, so that no pair comes twice before 28 curves.
    return {
        "color": COLOURS[i % len(COLOURS)],
        "linestyle": STYLES[(i + i // len(COLOURS)) % len(STYLES)],
        "linewidth": 1.7,
    }


def _legend(figure: Figure, axes: Any, title: str, outside: bool) -> None:
    axes.grid(color="0.9", linewidth=0.6)
    axes.set_axisbelow(True)
    if outside:
        figure.legend(title=title, frameon=False, loc="outside right upper", fontsize=8)
    else:
        axes.legend(title=title, frameon=False, fontsize=9)


def _quantile(share: NDArray[np.float64], n: NDArray[np.float64]) -> NDArray[np.float64]:
    """Normal quantile of the share, with half a vote moved so that 0 and 1 stay finite."""
    return special.ndtri((share * n + 0.5) / (n + 1.0))


def _probability_axis(axis: Any, low: float, high: float) -> None:
    shown = [p for p in _PROBABILITIES if low - 0.2 <= special.ndtri(p) <= high + 0.2]
    axis.set_ticks([float(special.ndtri(p)) for p in shown], [f"{p:g}" for p in shown])
