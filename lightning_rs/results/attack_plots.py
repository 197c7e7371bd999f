"""Plots of an attack, one panel for each norm: what is certified below what could not be broken."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lightning_rs.results.attack_figures import AttackedCertificates, AttackedRun
from lightning_rs.results.escaping import plot_text
from lightning_rs.results.plots import COLOURS, NORMS, curve, finish, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def robust_accuracy(run: AttackedRun, path: Path) -> None:
    """Certified accuracy against radius, and the share of images that could not be broken: two exact step curves for
    each mechanism, between which the truth lies.

    Args:
        run: of one image or more.
        path: PNG file; an SVG is written beside it.
    """
    figure, panels = _panels(run)
    for norm, (axes, members) in panels.items():
        lines = [
            (mechanism, style, curve(radii))
            for mechanism, one in members.items()
            for style, radii in (
                ("-", np.where(one.prediction == run.label, one.radius, 0.0)),
                ("--", run.robust_distance(mechanism)),
            )
        ]
        end = 1.03 * _end(members)
        for mechanism, style, (x, y) in lines:
            # Where no point was found the curve goes on to the right; else it ends at 0.
            near = np.isfinite(x)
            axes.step([*x[near], end], 100 * np.array([*y[near], y[near][-1]]), where="post", linestyle=style,
                      color=_colour(run, mechanism), linewidth=1.6, alpha=0.85)  # fmt: skip
        axes.set_xlabel(f"{_called(norm)} radius $r$ (pixels in [0, 1])")
        axes.set_xlim(0, end)
        axes.set_ylim(0, 101)
    next(iter(panels.values()))[0].set_ylabel("images (%)")
    handles = [_handle(color="0.3", label="certified"), _handle(color="0.3", linestyle="--", label="not broken")]
    _legend(figure, run, handles)
    finish(figure, run.title, path)


def radius_distance(run: AttackedRun, path: Path) -> None:
    """Certified radius against the distance of the nearest point found, one mark for each certificate.

    Right of the diagonal a certificate holds against the attack; left of it, it is violated.

    Args:
        run: of one image or more.
        path: PNG file; an SVG is written beside it.
    """
    figure, panels = _panels(run)
    for norm, (axes, members) in panels.items():
        end = 1.1 * _end(members)
        axes.plot([0, end], [0, end], color="0.5", linewidth=1, linestyle=":")
        for mechanism, one in members.items():
            colour = _colour(run, mechanism)
            found = one.certified & np.isfinite(one.distance)
            held, none = found & ~one.violated, one.certified & ~found
            axes.scatter(one.distance[held], one.radius[held], s=16, color=colour, alpha=0.6, linewidth=0)
            axes.scatter(one.distance[one.violated], one.radius[one.violated], s=30, color=colour, marker="X")
            axes.scatter(np.full(none.sum(), end), one.radius[none], s=16, color=colour, marker=">", clip_on=False)
        axes.set_xlabel(f"{_called(norm)} distance of the nearest point found")
        axes.set_xlim(0, end)
        axes.set_ylim(0, end)
    next(iter(panels.values()))[0].set_ylabel("certified radius")
    marks = {"marker": "o", "linestyle": "", "color": "0.3"}
    handles = [
        _handle(**marks | {"label": "not broken within the radius", "markersize": 4}),
        _handle(**marks | {"label": "no point found", "marker": ">", "markersize": 5}),
        _handle(**marks | {"label": "violated", "marker": "X", "markersize": 6}),
    ]
    _legend(figure, run, handles)
    finish(figure, run.title, path)


def _panels(run: AttackedRun) -> tuple[Figure, dict[str, tuple[Any, dict[str, AttackedCertificates]]]]:
    """A figure, and of each norm its axes and its mechanisms."""
    norms = list(dict.fromkeys(one.norm for one in run.certificates.values()))
    figure, axes = new_figure(1, len(norms), size=(2.6 + 3.8 * len(norms), 4.0))
    members = {
        norm: {mechanism: one for mechanism, one in run.certificates.items() if one.norm == norm} for norm in norms
    }
    for one in np.ravel(axes):
        one.grid(color="0.9", linewidth=0.6)
        one.set_axisbelow(True)
    return figure, {norm: (one, members[norm]) for norm, one in zip(norms, np.ravel(axes), strict=True)}


def _end(members: Mapping[str, AttackedCertificates]) -> float:
    """The largest radius and the largest distance of a point."""
    values = np.concatenate([values for one in members.values() for values in (one.radius, one.distance)])
    return float(values[np.isfinite(values)].max()) or 1.0


def _called(norm: str) -> str:
    return NORMS.get(norm) or plot_text(norm)


def _colour(run: AttackedRun, mechanism: str) -> str:
    return COLOURS[list(run.certificates).index(mechanism) % len(COLOURS)]


def _handle(**look: Any) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], **look)


def _legend(figure: Figure, run: AttackedRun, handles: list[Any]) -> None:
    named = [_handle(color=_colour(run, mechanism), label=plot_text(mechanism)) for mechanism in run.certificates]
    figure.legend(handles=[*named, *handles], frameon=False, loc="outside right upper", fontsize=8)
