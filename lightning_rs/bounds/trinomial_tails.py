"""Tails of a statistic of two counts of a trinomial, over cells of curves of probabilities."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

from lightning_rs.bounds.binomial_tails import binomial_cdf

Array = NDArray[np.float64]

# Factor on every computed probability: well above the error of the distribution functions, far below what matters.
_INFLATION = 1.0 + 1e-8
# Below this many trials, no count is grouped or left out.
_SMALL_TRIALS = 64
# About so many groups at once, so that their arrays stay in the processor's cache.
_AT_ONCE = 16_384
# Where the body of a normal distribution has borders, in units of its far tail.
_BODY = np.array([[1.0, 0.75, 0.5, 0.25]])


@dataclass(frozen=True)
class Curves:
    """The curves g(q1, q2) = level of one observation (x1, x2) of n: see `proportion_difference_lower`.

    The top probability q1 is told by a coordinate v that rises with it and keeps its digits:

    "phi": v = Phi^-1(q1). "diff": v = q1, or q1 - 1 where x1 > n / 2 (`upper_half`).
    """

    n: float
    phi: bool
    upper_half: bool
    observed: float  # T(x1, x2)
    spread: float  # approximate standard deviation of the estimate of g
    target: float  # the probability in question


class Cells(NamedTuple):
    """Cells of the curve at one level, and in how many groups the counts y2 are to be taken."""

    curves: Curves
    level: float
    left: Array
    right: Array
    groups: int
    upper: bool  # rounded up, or interpolated

    @property
    def key(self) -> tuple[float | bytes, ...]:
        """Equal for equal cells of one curve."""
        return self.level, self.left.tobytes(), self.right.tobytes(), self.groups, self.upper


class Tails(NamedTuple):
    """P(T >= T_obs) at the corners of the cells, what the groups lose in levels, and evaluations."""

    probability: Array
    loss: Array
    evaluations: int


def trinomial_tails(asked: Sequence[Cells]) -> list[Tails]:
    """The tail of each cell at its (largest q1, smallest q2), which dominates the cell.

    It is a sum over y2 of binomial tails in y1, which fall with y2: the y2 form groups, and each takes the tail of its
    smallest member.

    Args:
        asked: all of the same statistic.
    """
    found: dict[int, Tails] = {}
    order = sorted(range(len(asked)), key=lambda i: asked[i].groups)
    for count, same in groupby(order, key=lambda i: asked[i].groups):
        for part in _parts(list(same), asked):
            found |= zip(part, _tails([asked[i] for i in part], count), strict=True)
    return [found[i] for i in range(len(asked))]


def _parts(places: list[int], asked: Sequence[Cells]) -> Iterator[list[int]]:
    part, size = [], 0
    for place in places:
        more = asked[place].left.size * asked[place].groups
        if part and size + more > _AT_ONCE:
            yield part
            part, size = [], 0
        part.append(place)
        size += more
    yield part


class _Rows(NamedTuple):
    """Columns (cells, 1): the corner, what else is left of 1, and what the tail there depends on."""

    q1: Array
    q2: Array
    q3: Array
    n: Array
    observed: Array
    target: Array
    phi: bool

    @classmethod
    def of(cls, asked: Sequence[Cells], cells: NDArray[np.int64]) -> _Rows:
        curves = [request.curves for request in asked]
        each = [(r.level, c.upper_half, c.n, c.observed, c.target) for r, c in zip(asked, curves, strict=True)]
        level, upper_half, *others = np.repeat(np.array(each).T, cells, axis=1)[:, :, None]
        left, right = (np.concatenate([getattr(r, side) for r in asked])[:, None] for side in ("left", "right"))
        phi = curves[0].phi
        return cls(*_corner(level, left, right, phi, upper_half > 0.0), *others, phi)


def _corner(level: Array, left: Array, right: Array, phi: bool, upper_half: Array) -> tuple[Array, Array, Array]:
    """q1 at the right ends of the cells, q2 on the curve at their left ends, and what these leave of 1."""
    if phi:
        q1, rest, q2 = special.ndtr(right), special.ndtr(-right), special.ndtr(left - level)
    else:
        q1 = np.where(upper_half, 1.0 + right, right)
        rest = np.where(upper_half, -right, 1.0 - right)
        q2 = np.maximum(0.0, np.where(upper_half, (1.0 - level) + left, left - level))
    return q1, q2, np.maximum(0.0, rest - q2)


def _tails(asked: Sequence[Cells], count: int) -> list[Tails]:
    cells = np.array([request.left.size for request in asked])
    rows = _Rows.of(asked, cells)
    first, sensitivity = _groups(rows, count)
    starts = np.cumsum(cells) - cells
    window = np.maximum.reduceat(first[:, -1] - first[:, 0], starts) + 1.0
    # Every y2 of the window can stand alone.
    alone = window <= max(first.shape[1], _SMALL_TRIALS)
    width = np.where(alone, window, float(first.shape[1]))
    total = np.empty(len(first))
    # Those that stand alone come in rows of few lengths, most of whose columns count.
    length = np.where(alone, 16.0 * np.ceil(width / 16.0), 0.0)
    loss = [0.0 if a else r.curves.spread / count for a, r in zip(alone, asked, strict=True)]
    each = np.array([length, width, [r.upper for r in asked], loss])
    columns_of = set(length.tolist())
    length, width_of, upper, loss = np.repeat(each, cells, axis=1)
    for columns in columns_of:
        chosen = slice(None) if len(columns_of) == 1 else length == columns
        part = _Rows(*(column[chosen] for column in rows[:-1]), rows.phi)
        members = first[chosen]
        if columns:
            members = np.minimum(members[:, :1] + np.arange(columns), part.n)
        total[chosen] = _sums(part, members, width_of[chosen, None], upper[chosen, None] > 0.0)
    loss *= sensitivity
    ends = starts + cells
    return [Tails(total[i:j], loss[i:j], int(2 * (j - i) * w)) for i, j, w in zip(starts, ends, width, strict=True)]


def _sums(rows: _Rows, first: Array, width: Array, upper: NDArray[np.bool_]) -> Array:
    """P(T >= T_obs) from the first members of the groups, of which the first `width` of each row count."""
    position = np.arange(first.shape[1])
    others = rows.q1 + rows.q3
    remaining, counted = rows.n - first, position < width
    # Of both at once: the y1 of each group, and the y2 below it. Columns that do not count are certain, without work.
    k, n, p, q = np.empty((4, 2, *first.shape))
    # y1 >= threshold leaves at most remaining - threshold for the other classes.
    k[0], n[0] = np.where(counted, remaining - threshold(rows, first), -1.0), remaining
    k[1], n[1] = np.where(counted, first - 1.0, rows.n), rows.n
    p[0], q[0], p[1], q[1] = rows.q3 / others, rows.q1 / others, rows.q2, others
    inner, below = binomial_cdf(k, n, p, q)
    weight = 1.0 - below
    weight[:, :-1] = below[:, 1:] - below[:, :-1]
    weight = np.maximum(0.0, weight)
    if not upper.all():
        gap = np.maximum(1.0, first[:, 1:] - first[:, :-1])
        mean = 0.5 * inner
        between = inner[:, :-1] + (inner[:, 1:] - inner[:, :-1]) * (gap - 1.0) / (2.0 * gap)
        mean[:, :-1] = np.where(position[1:] < width, between, mean[:, :-1])
        inner = np.where(upper, inner, mean)
    # The y2 below the first group count with a tail of 1.
    total = below[:, 0] + np.sum(weight * inner, axis=1)
    # `fmin`: what cannot be computed is taken as certain, and verifies nothing.
    return np.where(upper[:, 0], np.fmin(1.0, total * _INFLATION), total)


def threshold(rows: _Rows, y2: Array) -> Array:
    """The least y1 with T(y1, y2) >= T(x1, x2); at a tie within rounding error, no more than it."""
    if not rows.phi:
        return y2 + rows.observed
    n = rows.n
    u = rows.observed + score(y2, n)
    guard = 1e-7 + 2e-14 * n
    # From the side where the distribution function is small, so that large n keep their last digits.
    scaled = (n + 1.0) * special.ndtr(-np.abs(u)) - 0.5
    return np.where(u < 0.0, np.ceil(scaled - guard), n - np.floor(scaled + guard))


def score(count: Array, n: Array | float) -> Array:
    """z(k) = Phi^-1((k + 1/2) / (n + 1)), odd about n / 2 to the last digit."""
    other = n - count
    return np.copysign(special.ndtri((np.minimum(count, other) + 0.5) / (n + 1.0)), count - other)


def _groups(rows: _Rows, count: int) -> tuple[Array, Array]:
    """First members of the groups of y2, cells by groups, and the tail's sensitivity to the grouping.

    With Y2 = m + s sd and the normal approximation P(T >= T_obs | s) = Phi(-(u + k s)), the loss of a group is
    proportional to density * slope * width^2. Widths that equalise it are proportional to the inverse root of
    density * slope, which is a normal density in s: its quantiles are the borders.
    """
    # Cells along the last axis while there are few numbers of each.
    flat = _Rows(*(column[:, 0] for column in rows[:-1]), rows.phi)
    q1, q2, q3, n = flat.q1, flat.q2, flat.q3, flat.n
    mean, root = n * q2, np.sqrt(q1 + q3)
    root_mean, half = np.sqrt(mean), 0.5 * root
    # A floor under the inner deviation, so that a nearly certain inner count still gives groups of finite width.
    floor = 1.0 + 0.0025 * mean * (q1 + q3)
    top, other = q1 / (q1 + q3), q3 / (q1 + q3)

    # On the scale of square roots the distribution is close to normal for small means as well.
    def normal_score(s: Array) -> Array:
        y = np.minimum(np.square(np.maximum(0.0, root_mean + half * s)), n)
        mean_left = (n - y) * top
        return (threshold(flat, np.floor(y)) - 0.5 - mean_left) / np.sqrt(mean_left * other + floor)

    center, sides = np.zeros(mean.shape), np.array([[-1.0], [1.0]])
    lowest = np.maximum(-2.0 * root_mean / root, -40.0)
    highest = np.minimum(2.0 * (np.sqrt(n) - root_mean) / root, 40.0)
    for _ in range(3):
        # u + k s through two points near the present center, then the center that goes with it.
        below, above = normal_score(center + sides)
        slope = np.minimum(np.maximum(0.5 * (above - below), 0.02), 50.0)  # `np.clip` takes ten times as long.
        middle = 0.5 * (below + above)
        center = -slope * (middle - slope * center) / (1.0 + slope**2)
        center = np.minimum(np.maximum(center, lowest), highest)
    scale = np.sqrt(2.0 / (1.0 + slope**2))
    # Some borders in the body of the distribution: far from linear, the peak may lie elsewhere.
    body = special.ndtri(1e-6 * rows.target) * _BODY
    borders = np.concatenate([body, center[:, None] + scale[:, None] * _levels(count)], axis=1)
    borders.sort(axis=1)
    first = np.square(np.maximum(0.0, root_mean[:, None] + half[:, None] * borders))
    first = np.floor(np.minimum(first, rows.n))
    small = n < _SMALL_TRIALS
    first[small, 0], first[small, -1] = 0.0, n[small]
    return first, 2.5 * slope / (1.0 + slope**2)


@cache
def _levels(count: int) -> Array:
    """Quantiles of the normal distribution that divide it into so many equal parts and tails."""
    return np.concatenate([[-4.4, -3.4], special.ndtri((np.arange(count) + 0.5) / count), [3.4, 4.4]])
