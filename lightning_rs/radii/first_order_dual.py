"""The worst smoothed classifier with a known probability and two known moments: how low it can fall at a distance.

For u ~ N(0, I), a unit direction v and F(u) in [0, 1] with b = E[u F], let x = u.v and y the component of u along
b - (b.v) v. The smallest value that F's smoothing can have at distance r (in units of sigma) along v is

    p(r; q, m1, m2) = min E[F exp(r x - r^2 / 2)]   subject to   E[F] >= q,  E[x F] >= m1,  E[y F] >= m2,

reached by F = 1 where exp(r x - r^2 / 2) <= l0 + l1 x + l2 y. Here it is computed from below. For any l0, l1 >= 0,
l2 > 0, with c(x) = (l0 + l1 x - exp(r x - r^2 / 2)) / l2 and x ~ N(0, 1),

    D_r(l) = 1 - E[exp(r x - r^2 / 2) Phi(-c)] + l0 (E[Phi(-c)] - (1 - q)) + l1 (E[x Phi(-c)] + m1)
             + l2 (m2 - E[phi(c)])   <=   p(r; q, m1, m2)

by weak duality, so an inexact l can only lose. D is concave in l, and its maximum is p. In this form it needs the small
1 - q (`rest`) rather than q, and keeps its digits where q is near 1.

Source: J. Mohapatra, C.-Y. Ko, T.-W. Weng, P.-Y. Chen, S. Liu and L. Daniel, "Higher-Order Certification for Randomized
Smoothing", 2020, Theorem 3 and Corollary 3.1; the dual and its use are ours.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

Array = NDArray[np.float64]

_ROOT = float(np.sqrt(2.0 * np.pi))
_NODES = 320
# Where the nodes' map is tabulated: between the ends, and around an edge in units of its width.
_BETWEEN, _AROUND = np.linspace(0.0, 1.0, 129), np.sinh(np.linspace(-16.0, 16.0, 129))
_CHUNK = 64  # Problems at once, so that their arrays stay in the processor's cache.
_REACH = 9.0  # Beyond it the normal distribution holds 2e-19.
_LARGEST_RADIUS = 12.0
# The moments are cut off below the largest that are possible, where the multipliers have no limit.
_LARGEST_SHARE = 1.0 - 1e-7
# Below this share of the largest moment m2 is taken as 0: it adds about its square to p.
_LEAST_SHARE = 1e-4


def density(x: Array) -> Array:
    """phi(x)."""
    return np.exp(-0.5 * np.square(x)) / _ROOT


def largest_moment(rest: Array) -> Array:
    """rho = phi(Phi^-1(1 - rest)): no F with E[F] = 1 - rest has |E[u F]|_2 above it."""
    return density(special.ndtri(rest))


def slab(rest: Array, moment: Array) -> tuple[Array, Array]:
    """The edges (low, high) of the slab with P(low <= x <= high) = 1 - rest and E[x; slab] = -moment, moment >= 0.

    It is the worst region where nothing is known about y. From the largest moment on, low is -inf: a half-space. The
    bisection ends on the side of the larger moment, which is the safe one.
    """
    # One unknown, the mass t below the slab: phi(high) - phi(low) falls from rho at t = 0 to 0 at rest / 2.
    small, large = np.zeros_like(rest), 0.5 * rest
    for _ in range(64):
        t = 0.5 * (small + large)
        enough = density(special.ndtri(rest - t)) - density(special.ndtri(t)) >= moment
        small, large = np.where(enough, t, small), np.where(enough, large, t)
    return special.ndtri(small), -special.ndtri(rest - small)


def slab_probability(low: Array, high: Array, r: Array) -> Array:
    """Probability of the slab under N(r, 1)."""
    return special.ndtr(high - r) - special.ndtr(low - r)


def slab_radius(low: Array, high: Array, least: Array) -> Array:
    """The r >= least at which the slab's probability has fallen to 1/2, from below."""
    near, far = least, np.maximum(high, least)
    for _ in range(64):
        r = 0.5 * (near + far)
        above = slab_probability(low, high, r) >= 0.5
        near, far = np.where(above, r, near), np.where(above, far, r)
    return near


def dual_probability(rest: Array, m1: Array, m2: Array, r: Array) -> Array:
    """Lower bounds (N,) on p(r; 1 - rest, m1, m2), within about 1e-9 of it where the solver succeeds.

    All arguments (N,), 0 < rest < 1, m1 < rho, m2 >= 0, r > 0. Moments that no F has together are cut off.
    """
    low, high = _mirrored_slab(rest, m1)
    problem = np.stack([rest, m1, _feasible(rest, m1, m2), low, high])
    # A slab whose chord starts below 0 is the worst only for E[F] = q, not for E[F] >= q; it takes m1 > 0.
    worst = (m1 <= 0.0) | (_chord(low, high, r)[0] >= 0.0)
    best = np.where(worst, slab_probability(low, high, r) * (1.0 - 1e-15), 0.0)
    least = _LEAST_SHARE * largest_moment(rest)
    for rows in _chunks((problem[2] > least) | ~worst):
        part = problem[:, rows]
        easier = np.concatenate([part[:2], np.maximum(part[2:3], least[rows]), part[3:]])
        try:
            with np.errstate(all="ignore"):
                lam, _, _ = _maximise(easier, _start(easier, r[rows]), r[rows])
        except np.linalg.LinAlgError:
            continue
        best[rows] = np.fmax(best[rows], _verified(part, lam, r[rows]))
    return np.clip(best, 0.0, 1.0)


def dual_radius(rest: Array, m1: Array, m2: Array, least: Array) -> tuple[Array, NDArray[np.bool_]]:
    """Lower bounds (N,) on the r at which p(r; 1 - rest, m1, m2) falls to 1/2, and (N,) whether the solver failed.

    Never below `least`, a radius that holds in any case, nor below the slab's, which is what a failure falls back to.
    All arguments (N,), 0 < rest < 1/2, -rho <= m1 <= 0, m2 >= 0.
    """
    low, high = slab(rest, -m1)
    radius = slab_radius(low, high, least)
    failed = np.zeros(radius.shape, dtype=bool)
    m2 = _feasible(rest, m1, m2)
    for rows in _chunks((m2 > _LEAST_SHARE * largest_moment(rest)) & (radius < _LARGEST_RADIUS)):
        found = _solve_radius(np.stack([rest, m1, m2, low, high])[:, rows], radius[rows])
        failed[rows] = np.isnan(found)
        radius[rows] = np.fmax(radius[rows], found)
    return radius, failed


def _mirrored_slab(rest: Array, m1: Array) -> tuple[Array, Array]:
    """The slab for a moment of either sign."""
    low, high = slab(rest, np.abs(m1))
    return np.where(m1 > 0, -high, low), np.where(m1 > 0, -low, high)


def _feasible(rest: Array, m1: Array, m2: Array) -> Array:
    """m2 cut off at what E[F] >= q and E[x F] >= m1 leave room for; lowering it is the safe side."""
    largest = _LARGEST_SHARE * largest_moment(rest)
    return np.minimum(m2, np.sqrt(np.maximum(largest**2 - np.maximum(m1, 0.0) ** 2, 0.0)))


def _chunks(mask: NDArray[np.bool_]) -> list[NDArray[np.int64]]:
    rows = np.flatnonzero(mask)
    return [rows[k : k + _CHUNK] for k in range(0, len(rows), _CHUNK)]


class _Nodes(NamedTuple):
    """Quadrature in x, (N, nodes) each: nodes, weights of N(0, 1) and of N(r, 1), and the likelihood ratio."""

    x: Array
    weight: Array
    shifted: Array
    ratio: Array


class _Value(NamedTuple):
    """D and dD/dr (N,), the gradient in lam (N, 3) and its derivative in r (N, 3), minus the Hessian (N, 3, 3)."""

    dual: Array
    slope: Array
    gradient: Array
    mixed: Array
    curvature: Array


def _start(problem: Array, r: Array) -> Array:
    """Multipliers (N, 3) that are right for small m2: the chord of the likelihood ratio over the slab, and the l2 that
    blurs its edges by as much as m2 asks for."""
    _, _, m2, low, high = problem
    low, high = np.maximum(low, -_REACH), np.minimum(high, _REACH)
    l0, l1 = _chord(low, high, r)
    ratio_low, ratio_high = (np.exp(r * w - 0.5 * r * r) for w in (low, high))
    sharpness = sum(
        density(w) / np.maximum(np.abs(l1 - r * ratio), 1e-12) for w, ratio in ((low, ratio_low), (high, ratio_high))
    )
    return np.stack([np.maximum(l0, 0.0), l1, np.minimum(m2 / sharpness, 2.0 * ratio_high)], axis=1)


def _chord(low: Array, high: Array, r: Array) -> tuple[Array, Array]:
    """Intercept and slope of the line through the likelihood ratio at both edges."""
    low, high = np.maximum(low, -_REACH), np.minimum(high, _REACH)
    ratio_low, ratio_high = (np.exp(r * w - 0.5 * r * r) for w in (low, high))
    slope = (ratio_high - ratio_low) / (high - low)
    return ratio_low - slope * low, slope


def _nodes(lam: Array, r: Array, found: Array, count: int) -> _Nodes:
    """Trapezoidal rule in t(x) = x + sum over both edges e of asinh((x - e) / w), w the width over which Phi(c) falls
    from 1 to 0 there. The integrands are analytic in t and vanish at both ends, so the rule converges geometrically.
    `found` are the edges: see `_edges`."""
    steepness = np.abs(lam[:, 1] - r * np.exp(r * found - 0.5 * r * r)) / lam[:, 2]
    (low, high), (low_width, high_width) = (
        found[:, :, None],
        np.minimum(np.maximum(3.0 / np.maximum(steepness, 1e-300), 1e-6), 1.0)[:, :, None],
    )

    def t_of(x: Array) -> Array:
        return x + (np.arcsinh((x - low) / low_width) + np.arcsinh((x - high) / high_width))

    def speed_at(x: Array) -> Array:
        return 1.0 + (1.0 / np.hypot(x - low, low_width) + 1.0 / np.hypot(x - high, high_width))

    ends = np.stack([np.full_like(r, -_REACH), np.maximum(_REACH, r + _REACH)], axis=1)
    first, last = t_of(ends).T
    step = (last - first) / (count - 1)
    t = first[:, None] + step[:, None] * np.arange(count)
    # Inverted by interpolation in a table that is dense at the edges, then by Newton's method.
    table = np.concatenate(
        [_BETWEEN * (ends[:, 1:] - ends[:, :1]) + ends[:, :1], low + low_width * _AROUND, high + high_width * _AROUND],
        axis=1,
    )
    table = np.minimum(np.maximum(table, ends[:, :1]), ends[:, 1:])
    table.sort(axis=1)
    t_table = t_of(table)
    x = np.stack([np.interp(t[k], t_table[k], table[k]) for k in range(len(t))])
    for _ in range(3):
        x = x - (t_of(x) - t) / speed_at(x)
    spacing = step[:, None] / speed_at(x)
    r = r[:, None]
    return _Nodes(x, spacing * density(x), spacing * density(x - r), np.exp(r * x - 0.5 * r * r))


def _edges(lam: Array, r: Array) -> Array:
    """(2, N) where the likelihood ratio crosses l0 + l1 x, within the nodes' reach: the roots of the concave c."""
    highest = (np.log(np.maximum(lam[:, 1], 1e-100) / r) + 0.5 * r * r) / r
    highest = np.clip(highest, -_REACH, r + _REACH)
    inside, outside = np.stack([highest, highest]), np.stack([np.full_like(r, -_REACH), r + _REACH])
    l0, l1, half = lam[:, 0], lam[:, 1], 0.5 * r
    for _ in range(26):
        x = 0.5 * (inside + outside)
        positive = l0 + l1 * x >= np.exp(r * (x - half))
        inside, outside = np.where(positive, x, inside), np.where(positive, outside, x)
    return inside


def _evaluate(problem: Array, lam: Array, r: Array, nodes: _Nodes) -> _Value:
    rest, m1, m2 = problem[:3]
    x = nodes.x
    l0, l1, l2 = lam.T[:, :, None]
    c = (l0 + l1 * x - nodes.ratio) / l2
    clipped = np.minimum(np.maximum(c, -38.0), 38.0)  # `np.clip` takes ten times as long on few numbers.
    against = special.ndtr(-clipped)
    thin = density(clipped)
    weighted = nodes.weight * against
    lost = nodes.shifted * against
    away = x - r[:, None]
    gradient = np.stack([weighted.sum(1) - rest, (weighted * x).sum(1) + m1, m2 - (nodes.weight * thin).sum(1)], axis=1)
    dual = 1.0 - lost.sum(1) + (lam * gradient).sum(1)
    slope = -(lost * away).sum(1)
    # Where phi(c) is zero its factors may be huge; they are not needed there.
    directions = np.empty((len(x), 3, x.shape[1]))
    directions[:, 0], directions[:, 1], directions[:, 2] = 1.0, x, -clipped
    mass = nodes.weight * thin / l2
    curvature = np.matmul(directions * mass[:, None], directions.transpose(0, 2, 1))
    mixed = np.matmul(directions, (mass * np.minimum(nodes.ratio, 1e100) * away)[:, :, None])[:, :, 0]
    return _Value(dual, slope, gradient, mixed, curvature)


def _newton_step(value: _Value, lam: Array, damping: Array) -> Array:
    """Damped step (N, 3), with l0 and l1 held where they are 0 and D would grow below."""
    held = np.zeros(lam.shape, dtype=bool)
    held[:, :2] = (lam[:, :2] <= 0.0) & (value.gradient[:, :2] <= 0.0)
    gradient = np.where(held, 0.0, value.gradient)
    matrix = np.where(held[:, :, None] | held[:, None, :], 0.0, value.curvature)
    diagonal = matrix[:, range(3), range(3)]
    scale = np.sqrt(np.where(held | (diagonal <= 0.0), 1.0, diagonal))
    # Scaled to a unit diagonal, so that the damping is the same in all directions.
    matrix = matrix / (scale[:, :, None] * scale[:, None, :])
    matrix[:, range(3), range(3)] = np.where(held, 1.0, matrix[:, range(3), range(3)] + damping[:, None] + 1e-15)
    return np.linalg.solve(matrix, (gradient / scale)[:, :, None])[:, :, 0] / scale


def _maximise(problem: Array, lam: Array, r: Array) -> tuple[Array, _Value, NDArray[np.bool_]]:
    """Multipliers (N, 3) that maximise D_r, from `lam`; D there; whether it is the maximum. Damped Newton method."""
    value = None
    damping = np.full(len(r), 1e-3)
    active = np.arange(len(r))
    for _ in range(12):
        # The nodes follow the multipliers, but not within these rounds, where values have to be comparable.
        nodes = _nodes(lam[active], r[active], _edges(lam[active], r[active]), _NODES)
        own = _evaluate(problem[:, active], lam[active], r[active], nodes)
        improving = np.arange(len(active))
        for _ in range(10):
            rows = active[improving]
            everyone = len(improving) == len(active)
            old = own if everyone else _Value(*(part[improving] for part in own))
            step = _newton_step(old, lam[rows], damping[rows])
            trial = lam[rows] + step
            trial[:, :2] = np.maximum(trial[:, :2], 0.0)
            trial[:, 2] = np.minimum(np.maximum(trial[:, 2], 0.3 * lam[rows, 2]), 4.0 * lam[rows, 2])
            at = nodes if everyone else _Nodes(*(part[improving] for part in nodes))
            new = _evaluate(problem[:, rows], trial, r[rows], at)
            # What the step gains to first order; near the maximum twice what is left to gain.
            gain = np.abs(((trial - lam[rows]) * old.gradient).sum(1))
            # D is known to rounding only; a step that loses less is as good.
            accepted = new.dual >= old.dual - 1e-15
            damping[rows] = np.where(accepted, np.maximum(damping[rows] / 8.0, 1e-14), damping[rows] * 6.0)
            lam[rows[accepted]] = trial[accepted]
            for part, fresh in zip(own, new, strict=True):
                part[improving[accepted]] = fresh[accepted]
            improving = improving[gain > 1e-14]
            if not len(improving):
                break
        if value is None:  # All are active in the first round.
            value = own
        else:
            for part, fresh in zip(value, own, strict=True):
                part[active] = fresh
        active = active[improving]
        if not len(active):
            break
    converged = np.ones(len(r), dtype=bool)
    converged[active] = False
    return lam, value, converged


def _solve_radius(problem: Array, least: Array) -> Array:
    """The r (N,) at which the maximum of D_r is 1/2, verified from below; nan where that fails."""
    r, lam = least.copy(), _start(problem, least)
    near, far = least.copy(), np.full_like(least, _LARGEST_RADIUS)
    result = np.full_like(least, np.nan)
    active = np.arange(len(r))
    with np.errstate(all="ignore"):
        try:
            for _ in range(40):
                part = problem[:, active]
                lam[active], value, converged = _maximise(part, lam[active], r[active])
                part, value = part[:, converged], _Value(*(array[converged] for array in value))
                active = active[converged]
                above = value.dual >= 0.5
                near[active] = np.where(above, np.maximum(near[active], r[active]), near[active])
                far[active] = np.where(above, far[active], np.minimum(far[active], r[active]))
                new = r[active] + (0.5 - value.dual) / value.slope
                outside = ~((new > near[active]) & (new < far[active]))
                new = np.where(outside, 0.5 * (near[active] + np.minimum(far[active], 1.5 * r[active])), new)
                new = np.minimum(new, 1.4 * r[active])
                change = new - r[active]
                done = np.abs(change) < 1e-9 * r[active]
                move = _newton_step(
                    value._replace(gradient=value.mixed), lam[active] + 1.0, np.full(len(active), 1e-12)
                )
                guess = lam[active] + move * change[:, None]
                good = np.all(np.isfinite(guess), axis=1) & (guess[:, 2] > 0.3 * lam[active, 2]) & ~done
                guess[:, :2] = np.maximum(guess[:, :2], 0.0)
                lam[active] = np.where(good[:, None], guess, lam[active])
                r[active] = np.where(done, r[active], new)
                active = active[~done & np.isfinite(new)]
                if not len(active):
                    break
        except np.linalg.LinAlgError:
            return result
        for shorter in (2e-9, 1e-7, 1e-5, 1e-3):
            rows = np.flatnonzero(np.isnan(result))
            if not len(rows):
                break
            candidate = r[rows] * (1.0 - shorter)
            valid = _verified(problem[:, rows], lam[rows], candidate) >= 0.5
            result[rows[valid]] = candidate[valid]
    return result


def _verified(problem: Array, lam: Array, r: Array) -> Array:
    """D_r(lam) (N,) less what quadrature and rounding may have added: the smaller of two rules, one twice as fine."""
    with np.errstate(all="ignore"):
        edges = _edges(lam, r)
        both = [_evaluate(problem, lam, r, _nodes(lam, r, edges, count)) for count in (_NODES, 2 * _NODES)]
        coarse, fine = (value.dual for value in both)
        terms = lam[:, 0] * problem[0] + lam[:, 1] * np.abs(problem[1]) + lam[:, 2] * problem[2]
        return np.minimum(coarse, fine) - np.abs(coarse - fine) - 1e-14 * (1.0 + terms) - 1e-13
