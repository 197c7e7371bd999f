"""Confidence bound on the distance between two class probabilities, from both vote counts at once."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from lightning_rs.bounds.clopper_pearson import clopper_pearson_lower, clopper_pearson_upper
from lightning_rs.bounds.trinomial_tails import Cells, Curves, Tails, score, trinomial_tails

STATISTICS = ("phi", "diff")

# Part of alpha that pays for the interval to which the top probability is confined.
_NUISANCE_SHARE = 0.1
# Binomial distribution functions that one bound may evaluate. More of them move the bound closer to the exact one.
_BUDGET = 40_000
# Beyond this many trials, a quarter of them.
_MANY_TRIALS = 2e5
# So many bounds are searched side by side, so that each step is one of large arrays.
_SIDE_BY_SIDE = 256
# Bounds that were computed, by their arguments: images of one run often have the same votes, such as all of n.
_KNOWN: dict[tuple[float | str, ...], float] = {}
_REMEMBERED = 100_000
# Closest approach to the estimate of the exact bound, in standard deviations of the statistic.
_LEAST_SLACK = 1e-4
# Far beyond, the guard on ties would be as wide as a count.
_MOST_TRIALS = 2**40


def proportion_difference_lower(
    x1: ArrayLike, x2: ArrayLike, trials: ArrayLike, alpha: ArrayLike, statistic: str = "phi"
) -> NDArray[np.float64]:
    """Lower confidence bound on Phi^-1(p1) - Phi^-1(p2), or on p1 - p2, of a multinomial distribution.

    With T the statistic of the counts, g that of the probabilities, C = [CPlow(x1), CPup(x1)] the two-sided
    Clopper-Pearson interval of p1 at beta = alpha / 10, and (Y1, Y2) the counts of `trials` draws,

        p(L) = beta + sup {P_q(T(Y1, Y2) >= T(x1, x2)) : q1 in C, q1 + q2 <= 1, g(q1, q2) <= L}

    is a p-value of the hypothesis g <= L, and it rises with L. The bound is a level L with p(L) <= alpha, a little
    below the largest one; P(bound > g(p1, p2)) <= alpha for every p1, p2.

        "phi":   g = Phi^-1(q1) - Phi^-1(q2),   T = z(y1) - z(y2) with z(k) = Phi^-1((k + 1/2) / (trials + 1))
        "diff":  g = q1 - q2,                   T = y1 - y2

    Sigma times half of the "phi" bound is an l2 radius. C depends on x1 alone and T falls with x2, so that the exact
    bound falls with x2. That is why x2 may be the largest count among the rivals of class 1, with the same alpha: the
    rival with the largest p gives no smaller a bound, and that one is valid. Class 1 must be chosen without looking at
    these counts.

    P_q rises with q1 and falls with q2, so only the curve g(q1, q2) = L matters. The part of it over C is cut into
    cells, and the probability at (largest q1, smallest q2) of a cell dominates the cell. The tail is a sum over y2 of
    binomial tails in y1, which fall with y2: the y2 form groups, and each takes the tail of its smallest member. Both
    roundings go up; cells and groups are refined where it matters until L is verified. Floating-point error is
    covered by a factor 1 + 1e-8 on the probability and a guard on ties.

    Args:
        x1: count of the first class, integers in [0, trials].
        x2: count of the second class, integers in [0, trials - x1].
        trials: number of draws n, integers in [1, 2**40].
        alpha: failure probability of the bound, in (0, 1).
        statistic: "phi" or "diff".

    Returns:
        The bound, float64, in the broadcast shape of the arguments. For "diff" at least -1, which says nothing; for
        "phi" -inf says nothing.

    Raises:
        ValueError: an argument is out of its range, or the statistic is unknown.

    Cost: at most some 60 000 binomial distribution functions each; equal arguments are computed once in a process, the
    others side by side, to the same bits as alone, which takes two to three times as long: `docs/performance.md`.
    The bound then lies at most about 0.1 standard deviations of the statistic below the exact one up to n = 2e5 (0.0006
    for "phi" at n = 1e5, p = 0.4, 0.1), 0.2 beyond, and often far less. Where class 1 is far behind class 2 or alpha is
    tiny it can be looser, but still valid.

    Source: R. L. Berger and D. D. Boos, "P Values Maximized Over a Confidence Set for the Nuisance Parameter", Journal
    of the American Statistical Association 89, 1994. The use for certified radii, with these two statistics but with
    P(T > T(x1, x2)), which is not a p-value: Z. Moutaouakil, "Optimal Certified Radius Estimation in Randomized
    Smoothing".
    """
    if statistic not in STATISTICS:
        raise ValueError(f"statistic must be one of {', '.join(STATISTICS)}, got {statistic!r}")
    columns = _check(x1, x2, trials, alpha)
    rows, inverse = np.unique(np.stack([c.ravel() for c in columns], axis=-1), axis=0, return_inverse=True)
    asked = [(*map(float, row), statistic) for row in rows]
    new = [question for question in asked if question not in _KNOWN]
    if len(_KNOWN) + len(new) > _REMEMBERED:
        _KNOWN.clear()
        new = asked
    _KNOWN.update(zip(new, _side_by_side(_Problem.of(*question).bound() for question in new), strict=True))
    bounds = np.array([_KNOWN[question] for question in asked], dtype=np.float64)
    return bounds[inverse.ravel()].reshape(columns[0].shape)[()]


def _check(x1: ArrayLike, x2: ArrayLike, trials: ArrayLike, alpha: ArrayLike) -> list[NDArray[np.float64]]:
    a, b, n, level = np.broadcast_arrays(*(np.asarray(v, dtype=np.float64) for v in (x1, x2, trials, alpha)))
    if not np.all((n >= 1) & (n <= _MOST_TRIALS) & (n == np.floor(n))):
        raise ValueError(f"trials must be integers in [1, 2**40], got {trials}")
    if not np.all((a >= 0) & (a <= n) & (a == np.floor(a))):
        raise ValueError(f"x1 must be integers in [0, trials], got {x1} of {trials}")
    if not np.all((b >= 0) & (a + b <= n) & (b == np.floor(b))):
        raise ValueError(f"x2 must be integers in [0, trials - x1], got {x2} with x1 = {x1} of {trials}")
    if not np.all((level > 0) & (level < 1)):
        raise ValueError(f"alpha must lie in (0, 1), got {alpha}")
    return [a, b, n, level]


# A search asks for the tails it needs next, is sent them, and returns its result.
_Search = Generator[list[Cells], list[Tails], float]


def _side_by_side(searches: Iterable[_Search]) -> list[float]:
    """What the searches return; their questions are answered together."""
    waiting, bounds = enumerate(searches), {}
    asking: list[tuple[int, _Search, list[Cells]]] = []

    def advance(place: int, search: _Search, answer: list[Tails] | None) -> None:
        try:
            asking.append((place, search, search.send(answer)))
        except StopIteration as end:
            bounds[place] = end.value

    while True:
        for place, search in waiting:
            advance(place, search, None)
            if len(asking) >= _SIDE_BY_SIDE:
                break
        if not asking:
            return [bounds[place] for place in range(len(bounds))]
        asked, asking = asking, []
        answers = iter(trinomial_tails([cells for *_, several in asked for cells in several]))
        for place, search, cells in asked:
            advance(place, search, list(islice(answers, len(cells))))


class _Foresight:
    """Tails that one search asks for, together with those that it is likely to ask for next: fewer and larger steps."""

    def __init__(self) -> None:
        self._known: dict[tuple[float | bytes, ...], Tails] = {}

    def ask(self, wanted: Cells, likely: Iterable[Cells]) -> Generator[list[Cells], list[Tails], Tails]:
        """The tails of the cells that are wanted."""
        if (tails := self._known.pop(wanted.key, None)) is None:
            asked = [wanted, *(cells for cells in likely if cells.key not in self._known)]
            tails, *others = yield asked
            self._known.update(zip((cells.key for cells in asked[1:]), others, strict=True))
        return tails


@dataclass(frozen=True)
class _Problem:
    """One pair of counts: where on its curves q1 may lie."""

    curves: Curves
    v_low: float
    v_high: float

    @classmethod
    def of(cls, x1: float, x2: float, n: float, alpha: float, statistic: str) -> _Problem:
        phi, upper_half = statistic == "phi", 2.0 * x1 > n
        each = 0.5 * _NUISANCE_SHARE * alpha
        if upper_half:
            low, high = -clopper_pearson_upper(n - x1, n, each), -clopper_pearson_lower(n - x1, n, each)
        else:
            low, high = clopper_pearson_lower(x1, n, each), clopper_pearson_upper(x1, n, each)
        if phi:
            low, high = (-special.ndtri(-low), -special.ndtri(-high)) if upper_half else special.ndtri([low, high])
        # A wider interval is as valid: rounding goes outwards.
        low, high = (float(v) - sign * 1e-12 * abs(float(v)) for v, sign in ((low, 1.0), (high, -1.0)))

        q1, q2 = (x1 + 0.5) / (n + 1.0), (x2 + 0.5) / (n + 1.0)
        if phi:
            d1, d2 = (np.sqrt(2.0 * np.pi) * np.exp(0.5 * special.ndtri(q) ** 2) for q in (q1, q2))
            observed = float(score(np.float64(x1), n) - score(np.float64(x2), n))
        else:
            d1 = d2 = 1.0
            observed = x1 - x2
        variance = q1 * (1.0 - q1) * d1**2 + q2 * (1.0 - q2) * d2**2 + 2.0 * q1 * q2 * d1 * d2
        spread = math.sqrt(variance / n)
        # What p(L) leaves for the probability is alpha - beta.
        return cls(Curves(n, phi, upper_half, observed, spread, (1.0 - _NUISANCE_SHARE) * alpha), low, high)

    def bound(self) -> _Search:
        """Search of the largest verified level."""
        phi, spread = self.curves.phi, self.curves.spread
        # Below this level the constraint q1 + q2 <= 1 leaves nothing of the curve over C, and p(L) = beta.
        best = self._least_level()
        if best == -math.inf or (not phi and best <= -1.0):
            return -math.inf if phi else -1.0
        foresight = _Foresight()
        estimate, least = (yield from self._estimate(best, foresight)), best
        budget = _BUDGET if self.curves.n <= _MANY_TRIALS else _BUDGET // 4
        # Distances below the estimate, in standard deviations: on trial, the least that held, the largest that failed.
        slack, held, failed = 0.2, math.inf, 0.0
        while _LEAST_SLACK <= slack <= 1e4:
            level = estimate - slack * spread
            if level <= least:
                # Nothing to verify so low. Closer to the estimate there may be, unless that failed already.
                if failed > 0.0:
                    break
                slack /= 3.0
                continue
            # With room to spare the next distance is a third.
            next_root = self._root(estimate - slack * (1.0 / 3.0) * spread)
            verified, used = yield from self._verify(level, slack * spread, budget, foresight, next_root)
            budget -= used
            if verified:
                # The work grows at most like 1 / slack**2: a step that does not fit is not begun.
                best, held = level, slack
                slack *= max(1.0 / 3.0, math.sqrt(1.2 * used / max(budget, 1)))
                slack = max(slack, math.sqrt(failed * held))
            elif held < math.inf:
                failed = slack
                slack = math.sqrt(failed * held)
            else:
                # The estimate was too high. Coarse steps are cheap, so that they always get their share.
                failed, budget = slack, max(budget, _BUDGET // 10)
                slack *= 2.0
            if slack > 0.8 * held:
                break
        return best if phi else min(best, 1.0)

    def _least_level(self) -> float:
        if self.curves.phi:
            return 2.0 * self.v_low
        return float(np.nextafter((1.0 if self.curves.upper_half else -1.0) + 2.0 * self.v_low, -2.0))

    def _largest_coordinate(self, level: float) -> float:
        """Where the curve g = level leaves the simplex, or C ends."""
        if self.curves.phi:
            return min(self.v_high, 0.5 * level)
        return min(self.v_high, 0.5 * (level - 1.0) if self.curves.upper_half else 0.5 * (level + 1.0))

    def _estimate(self, least: float, foresight: _Foresight) -> _Search:
        """Level at which the largest probability on the curve is about alpha - beta: a bracketed secant search.

        Only a starting point: nothing here is rounded in a safe direction.
        """
        curves, spread = self.curves, self.curves.spread
        goal = float(special.ndtri(curves.target))
        low, high, points = least, math.inf, []
        level = max(
            (curves.observed if curves.phi else curves.observed / curves.n) + goal * spread, least + 0.01 * spread
        )
        place = None
        for step in range(40):
            value, place = yield from self._peak(level, place, foresight)
            value -= goal
            points = [*points[-1:], (level, value)]
            if value > 0.0:
                high = level
            else:
                low = level
            if abs(value) < (1e-5 if step < 8 else 1e-3) or high - low < 1e-5 * spread:
                break
            guess = math.nan
            if step < 12:
                if len(points) == 2 and math.isfinite(points[0][1]) and math.isfinite(value) and value != points[0][1]:
                    guess = level - value * (level - points[0][0]) / (value - points[0][1])
                elif math.isfinite(value):
                    guess = level - value * spread
            if not low < guess < high:
                guess = 0.5 * (low + high) if math.isfinite(high) else low + 2.0 ** min(step, 8) * spread
            level = guess
        return level

    def _peak(
        self, level: float, likely: int | None, foresight: _Foresight
    ) -> Generator[list[Cells], list[Tails], tuple[float, int | None]]:
        """Phi^-1 of about the largest probability on the curve, seen at 17 points and at 17 more around the best; which
        of the former that was, of which `likely` is a guess."""
        low, high = self.v_low, self._largest_coordinate(level)
        if high <= low:
            return -math.inf, likely

        def at(v: NDArray) -> Cells:
            return Cells(self.curves, level, v, v, 16, upper=False)

        coarse = np.linspace(low, high, 17)
        tails, *_ = yield from foresight.ask(at(coarse), [] if likely is None else [at(_around(coarse, likely))])
        best = int(np.argmax(tails))
        tails, *_ = yield from foresight.ask(at(_around(coarse, best)), [])
        return float(special.ndtri(min(float(np.max(tails)), 1.0 - 1e-15))), best

    def _root(self, level: float) -> list[Cells]:
        """The cells that verification of a level begins with; none where nothing of the curve is over C."""
        high = self._largest_coordinate(level)
        if high < self.v_low:
            return []
        edges = np.linspace(self.v_low, high, 9)
        return [Cells(self.curves, level, edges[:-1], edges[1:], 16, upper=True)]

    def _verify(
        self, level: float, slack: float, budget: int, foresight: _Foresight, likely: list[Cells]
    ) -> Generator[list[Cells], list[Tails], tuple[bool, int]]:
        """Whether cells that cover the curve over C show p(level) <= alpha within the budget; evaluations used.

        Cells that fail are cut, and their groups with them. `slack` tells when to give up: the distance of the level
        from the one that just holds. `likely` are those of the level that comes next.
        """
        curves, queue = self.curves, self._root(level)
        spent = 0
        while queue:
            *_, left, right, groups, _ = cells = queue.pop()
            if spent + 2 * left.size * groups > budget:
                return False, spent
            tails, group_loss, used = yield from foresight.ask(cells, [*queue, *likely])
            spent += used
            failed = tails > curves.target
            if not failed.any():
                continue
            left, right, tails, group_loss = left[failed], right[failed], tails[failed], group_loss[failed]
            # A cell of width w with groups of loss d has the tail of a level that is about w + d higher.
            loss = right - left + group_loss
            if np.any(loss < 0.05 * slack):
                return False, spent
            excess = special.ndtri(np.minimum(tails, 1.0 - 1e-15)) - special.ndtri(curves.target)
            allowed = np.maximum(0.8 * (loss - excess * curves.spread), np.maximum(0.2 * loss, 0.04 * slack))
            allowed = np.minimum(allowed, 0.7 * loss)
            grouped = group_loss > 0.0
            share = np.where(grouped, 0.5 * allowed, allowed)
            finer = np.where(grouped, groups * group_loss / share, groups)
            # Powers of two, so that cells with different needs still come in few batches.
            finer = np.exp2(np.ceil(np.log2(np.minimum(np.maximum(finer, 8.0), 4096.0))))
            for count in sorted(set(finer.tolist())):
                chosen = finer == count
                parts = _cut(left[chosen], right[chosen], share[chosen])
                queue.append(Cells(curves, level, *parts, int(count), upper=True))
        return True, spent


def _around(points: NDArray, place: int) -> NDArray:
    """17 points between the neighbours of one."""
    return np.linspace(points[max(place - 1, 0)], points[min(place + 1, points.size - 1)], 17)


def _cut(left: NDArray, right: NDArray, width: NDArray) -> tuple[NDArray, NDArray]:
    """Each cell [left, right] in equal parts that are no wider than `width`, without gaps."""
    parts = np.maximum(1, np.ceil((right - left) / width)).astype(int)
    cell = np.repeat(np.arange(left.size), parts)
    position = np.arange(cell.size) - np.repeat(np.cumsum(parts) - parts, parts)
    step, last = (right - left)[cell] / parts[cell], position + 1 == parts[cell]
    return left[cell] + step * position, np.where(last, right[cell], left[cell] + step * (position + 1))
