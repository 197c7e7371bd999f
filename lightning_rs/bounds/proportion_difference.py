"""Confidence bound on the distance between two class probabilities, from both vote counts at once."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from lightning_rs.bounds.clopper_pearson import clopper_pearson_lower, clopper_pearson_upper

STATISTICS = ("phi", "diff")

# Part of alpha that pays for the interval to which the top probability is confined.
_NUISANCE_SHARE = 0.1
# Factor on every computed probability: well above the error of the distribution functions, far below what matters.
_INFLATION = 1.0 + 1e-8
# Binomial distribution functions that one bound may evaluate. More of them move the bound closer to the exact one.
_BUDGET = 40_000
# Up to this many trials the faster of two binomial distribution functions is accurate enough.
_FAST_TRIALS = 2e5
# Below this many trials, no count is grouped or left out.
_SMALL_TRIALS = 64
# Closest approach to the estimate of the exact bound, in standard deviations of the statistic.
_LEAST_SLACK = 1e-4


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
        trials: number of draws n, integers >= 1.
        alpha: failure probability of the bound, in (0, 1).
        statistic: "phi" or "diff".

    Returns:
        The bound, float64, in the broadcast shape of the arguments. For "diff" at least -1, which says nothing; for
        "phi" -inf says nothing.

    Raises:
        ValueError: an argument is out of its range, or the statistic is unknown.

    Cost: arguments are taken one by one, equal ones once. At most some 60 000 binomial distribution functions each:
    5 to 35 ms on one core up to n = 1e5, about 0.1 s at n = 1e9. The bound then lies at most about 0.1 standard
    deviations of the statistic below the exact one up to n = 2e5 (0.0006 for "phi" at n = 1e5, p = 0.4, 0.1), 0.2
    beyond, and often far less. Where class 1 is far behind class 2 or alpha is tiny it can be looser, but still valid.

    Source: R. L. Berger and D. D. Boos, "P Values Maximized Over a Confidence Set for the Nuisance Parameter", Journal
    of the American Statistical Association 89, 1994. The use for certified radii, with these two statistics but with
    P(T > T(x1, x2)), which is not a p-value: Z. Moutaouakil, "Optimal Certified Radius Estimation in Randomized
    Smoothing".
    """
    if statistic not in STATISTICS:
        raise ValueError(f"statistic must be one of {', '.join(STATISTICS)}, got {statistic!r}")
    columns = _check(x1, x2, trials, alpha)
    rows, inverse = np.unique(np.stack([c.ravel() for c in columns], axis=-1), axis=0, return_inverse=True)
    bounds = np.array([_Problem.of(*map(float, row), statistic).bound() for row in rows], dtype=np.float64)
    return bounds[inverse.ravel()].reshape(columns[0].shape)[()]


def _check(x1: ArrayLike, x2: ArrayLike, trials: ArrayLike, alpha: ArrayLike) -> list[NDArray[np.float64]]:
    a, b, n, level = np.broadcast_arrays(*(np.asarray(v, dtype=np.float64) for v in (x1, x2, trials, alpha)))
    if not np.all((n >= 1) & (n == np.floor(n)) & np.isfinite(n)):
        raise ValueError(f"trials must be integers >= 1, got {trials}")
    if not np.all((a >= 0) & (a <= n) & (a == np.floor(a))):
        raise ValueError(f"x1 must be integers in [0, trials], got {x1} of {trials}")
    if not np.all((b >= 0) & (a + b <= n) & (b == np.floor(b))):
        raise ValueError(f"x2 must be integers in [0, trials - x1], got {x2} with x1 = {x1} of {trials}")
    if not np.all((level > 0) & (level < 1)):
        raise ValueError(f"alpha must lie in (0, 1), got {alpha}")
    return [a, b, n, level]


@dataclass(frozen=True)
class _Problem:
    """One pair of counts. The top probability q1 is told by a coordinate v that rises with it and keeps its digits:

    "phi": v = Phi^-1(q1). "diff": v = q1, or q1 - 1 where x1 > n / 2 (`upper_half`).
    """

    x1: float
    x2: float
    n: float
    target: float  # what p(L) leaves for the probability: alpha - beta
    phi: bool
    upper_half: bool
    v_low: float
    v_high: float
    observed: float  # T(x1, x2)
    spread: float  # approximate standard deviation of the estimate of g

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
            observed = float(_score(np.float64(x1), n) - _score(np.float64(x2), n))
        else:
            d1 = d2 = 1.0
            observed = x1 - x2
        variance = q1 * (1.0 - q1) * d1**2 + q2 * (1.0 - q2) * d2**2 + 2.0 * q1 * q2 * d1 * d2
        spread = math.sqrt(variance / n)
        return cls(x1, x2, n, (1.0 - _NUISANCE_SHARE) * alpha, phi, upper_half, low, high, observed, spread)

    def bound(self) -> float:
        """The largest verified level."""
        # Below this level the constraint q1 + q2 <= 1 leaves nothing of the curve over C, and p(L) = beta.
        best = self._least_level()
        if best == -math.inf or (not self.phi and best <= -1.0):
            return -math.inf if self.phi else -1.0
        estimate, least = self._estimate(best), best
        budget = _BUDGET if self.n <= _FAST_TRIALS else _BUDGET // 4
        # Distances below the estimate, in standard deviations: on trial, the least that held, the largest that failed.
        slack, held, failed = 0.2, math.inf, 0.0
        while _LEAST_SLACK <= slack <= 1e4:
            level = estimate - slack * self.spread
            if level <= least:
                # Nothing to verify so low. Closer to the estimate there may be, unless that failed already.
                if failed > 0.0:
                    break
                slack /= 3.0
                continue
            verified, used = self._verify(level, slack * self.spread, budget)
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
        return best if self.phi else min(best, 1.0)

    def _least_level(self) -> float:
        if self.phi:
            return 2.0 * self.v_low
        return float(np.nextafter((1.0 if self.upper_half else -1.0) + 2.0 * self.v_low, -2.0))

    def _largest_coordinate(self, level: float) -> float:
        """Where the curve g = level leaves the simplex, or C ends."""
        if self.phi:
            return min(self.v_high, 0.5 * level)
        return min(self.v_high, 0.5 * (level - 1.0) if self.upper_half else 0.5 * (level + 1.0))

    def _corner(self, level: float, left: NDArray, right: NDArray) -> tuple[NDArray, NDArray, NDArray]:
        """q1 at the right ends of the cells, q2 on the curve at their left ends, and what these leave of 1."""
        if self.phi:
            q1, rest, q2 = special.ndtr(right), special.ndtr(-right), special.ndtr(left - level)
        elif self.upper_half:
            q1, rest, q2 = 1.0 + right, -right, np.maximum(0.0, (1.0 - level) + left)
        else:
            q1, rest, q2 = right, 1.0 - right, np.maximum(0.0, left - level)
        return q1, q2, np.maximum(0.0, rest - q2)

    def _threshold(self, y2: NDArray) -> NDArray:
        """The least y1 with T(y1, y2) >= T(x1, x2); at a tie within rounding error, no more than it."""
        if not self.phi:
            return y2 + self.observed
        n = self.n
        u = self.observed + _score(y2, n)
        guard = 1e-7 + 2e-14 * n
        # From the side where the distribution function is small, so that large n keep their last digits.
        below = np.ceil((n + 1.0) * special.ndtr(u) - 0.5 - guard)
        above = n - np.floor((n + 1.0) * special.ndtr(-u) - 0.5 + guard)
        return np.where(u < 0.0, below, above)

    def _groups(self, q1: NDArray, q2: NDArray, q3: NDArray, count: int) -> tuple[NDArray, NDArray]:
        """First members of the groups of y2, cells by groups, and the tail's sensitivity to the grouping.

        With Y2 = m + s sd and the normal approximation P(T >= T_obs | s) = Phi(-(u + k s)), the loss of a group is
        proportional to density * slope * width^2. Widths that equalise it are proportional to the inverse root of
        density * slope, which is a normal density in s: its quantiles are the borders.
        """
        n = self.n
        mean, root = n * q2, np.sqrt(q1 + q3)

        def count_at(s: NDArray) -> NDArray:
            # On the scale of square roots the distribution is close to normal for small means as well.
            return np.minimum(np.square(np.maximum(0.0, np.sqrt(mean)[:, None] + 0.5 * root[:, None] * s)), n)

        # A floor under the inner deviation, so that a nearly certain inner count still gives groups of finite width.
        floor = 1.0 + 0.0025 * mean * (q1 + q3)

        def normal_score(y: NDArray) -> NDArray:
            left, top = n - y, (q1 / (q1 + q3))[:, None]
            sd = np.sqrt(left * top * (q3 / (q1 + q3))[:, None] + floor[:, None])
            return (self._threshold(np.floor(y)) - 0.5 - left * top) / sd

        center = np.zeros_like(mean)
        lowest, highest = -2.0 * np.sqrt(mean) / root, 2.0 * (math.sqrt(n) - np.sqrt(mean)) / root
        for _ in range(3):
            # u + k s through two points near the present center, then the center that goes with it.
            around = center[:, None] + np.array([[-1.0, 1.0]])
            u = normal_score(count_at(around))
            slope = np.clip(0.5 * (u[:, 1] - u[:, 0]), 0.02, 50.0)
            middle = 0.5 * (u[:, 0] + u[:, 1])
            center = -slope * (middle - slope * center) / (1.0 + slope**2)
            center = np.clip(center, np.maximum(lowest, -40.0), np.minimum(highest, 40.0))
        scale = np.sqrt(2.0 / (1.0 + slope**2))
        levels = np.concatenate([[-4.4, -3.4], special.ndtri((np.arange(count) + 0.5) / count), [3.4, 4.4]])
        # Some borders in the body of the distribution: far from linear, the peak may lie elsewhere.
        body = np.broadcast_to(special.ndtri(1e-6 * self.target) * np.array([1.0, 0.75, 0.5, 0.25]), (mean.size, 4))
        first = np.floor(count_at(np.sort(np.hstack([body, center[:, None] + scale[:, None] * levels]), axis=1)))
        if n < _SMALL_TRIALS:
            first[:, 0], first[:, -1] = 0.0, n
        width = int(np.max(first[:, -1] - first[:, 0])) + 1
        if width <= max(first.shape[1], _SMALL_TRIALS):
            # Every y2 of the window can stand alone.
            first = np.minimum(first[:, :1] + np.arange(width), n)
            return first, np.zeros_like(slope)
        return first, 2.5 * slope / (1.0 + slope**2)

    def _tails(
        self, level: float, left: NDArray, right: NDArray, groups: int, upper: bool
    ) -> tuple[NDArray, NDArray, int]:
        """P(T >= T_obs) at the corners of the cells, rounded up (`upper`) or interpolated; the loss; evaluations."""
        n = self.n
        q1, q2, q3 = self._corner(level, left, right)
        first, sensitivity = self._groups(q1, q2, q3, groups)
        others = (q1 + q3)[:, None]
        threshold, remaining = self._threshold(first), n - first
        # y1 >= threshold leaves at most remaining - threshold for the other classes.
        inner = _binomial_cdf(remaining - threshold, remaining, q3[:, None] / others, q1[:, None] / others, n)
        below = _binomial_cdf(first - 1.0, n, q2[:, None], others, n)
        weight = np.maximum(0.0, np.diff(below, axis=1, append=1.0))
        if upper:
            # The y2 below the first group count with a tail of 1.
            total = np.minimum(1.0, (below[:, 0] + np.sum(weight * inner, axis=1)) * _INFLATION)
        else:
            gap = np.maximum(1.0, np.diff(first, axis=1))
            mean = inner[:, :-1] + np.diff(inner, axis=1) * (gap - 1.0) / (2.0 * gap)
            total = below[:, 0] + np.sum(weight[:, :-1] * mean, axis=1) + 0.5 * weight[:, -1] * inner[:, -1]
        return total, sensitivity * self.spread / groups, 2 * first.size

    def _estimate(self, least: float) -> float:
        """Level at which the largest probability on the curve is about alpha - beta: a bracketed secant search.

        Only a starting point: nothing here is rounded in a safe direction.
        """
        goal = float(special.ndtri(self.target))
        share = np.linspace(0.0, 1.0, 17)

        def excess(level: float) -> float:
            high = self._largest_coordinate(level)
            low = self.v_low
            if high <= low:
                return -math.inf
            for _ in range(2):
                v = low + (high - low) * share
                tails = self._tails(level, v, v, 16, upper=False)[0]
                peak = int(np.argmax(tails))
                low, high = v[max(peak - 1, 0)], v[min(peak + 1, share.size - 1)]
            return float(special.ndtri(min(float(np.max(tails)), 1.0 - 1e-15))) - goal

        low, high, points = least, math.inf, []
        level = max(
            (self.observed if self.phi else self.observed / self.n) + goal * self.spread, least + 0.01 * self.spread
        )
        for step in range(40):
            value = excess(level)
            points = [*points[-1:], (level, value)]
            if value > 0.0:
                high = level
            else:
                low = level
            if abs(value) < (1e-5 if step < 8 else 1e-3) or high - low < 1e-5 * self.spread:
                break
            guess = math.nan
            if step < 12:
                if len(points) == 2 and math.isfinite(points[0][1]) and math.isfinite(value) and value != points[0][1]:
                    guess = level - value * (level - points[0][0]) / (value - points[0][1])
                elif math.isfinite(value):
                    guess = level - value * self.spread
            if not low < guess < high:
                guess = 0.5 * (low + high) if math.isfinite(high) else low + 2.0 ** min(step, 8) * self.spread
            level = guess
        return level

    def _verify(self, level: float, slack: float, budget: int) -> tuple[bool, int]:
        """Whether cells that cover the curve over C show p(level) <= alpha within the budget; evaluations used.

        Cells that fail are cut, and their groups with them. `slack` tells when to give up: the distance of the level
        from the one that just holds.
        """
        high = self._largest_coordinate(level)
        if high < self.v_low:
            return True, 0
        edges = np.linspace(self.v_low, high, 9)
        queue = [(edges[:-1], edges[1:], 16)]
        spent = 0
        while queue:
            left, right, groups = queue.pop()
            if spent + 2 * left.size * groups > budget:
                return False, spent
            tails, group_loss, used = self._tails(level, left, right, groups, upper=True)
            spent += used
            failed = tails > self.target
            if not np.any(failed):
                continue
            left, right, tails, group_loss = left[failed], right[failed], tails[failed], group_loss[failed]
            # A cell of width w with groups of loss d has the tail of a level that is about w + d higher.
            loss = right - left + group_loss
            if np.any(loss < 0.05 * slack):
                return False, spent
            excess = special.ndtri(np.minimum(tails, 1.0 - 1e-15)) - special.ndtri(self.target)
            allowed = np.clip(0.8 * (loss - excess * self.spread), np.maximum(0.2 * loss, 0.04 * slack), 0.7 * loss)
            grouped = group_loss > 0.0
            share = np.where(grouped, 0.5 * allowed, allowed)
            finer = np.where(grouped, groups * group_loss / share, groups)
            # Powers of two, so that cells with different needs still come in few batches.
            finer = np.exp2(np.ceil(np.log2(np.clip(finer, 8, 4096)))).astype(int)
            for count in np.unique(finer):
                chosen = finer == count
                queue.append((*_cut(left[chosen], right[chosen], share[chosen]), int(count)))
        return True, spent


def _cut(left: NDArray, right: NDArray, width: NDArray) -> tuple[NDArray, NDArray]:
    """Each cell [left, right] in equal parts that are no wider than `width`, without gaps."""
    parts = np.maximum(1, np.ceil((right - left) / width)).astype(int)
    cell = np.repeat(np.arange(left.size), parts)
    position = np.arange(cell.size) - np.repeat(np.cumsum(parts) - parts, parts)
    step, last = (right - left)[cell] / parts[cell], position + 1 == parts[cell]
    return left[cell] + step * position, np.where(last, right[cell], left[cell] + step * (position + 1))


def _score(count: NDArray, n: float) -> NDArray:
    """z(k) = Phi^-1((k + 1/2) / (n + 1)), odd about n / 2 to the last digit."""
    small = np.minimum(count, n - count)
    return np.where(2.0 * count > n, -1.0, 1.0) * special.ndtri((small + 0.5) / (n + 1.0))


def _binomial_cdf(k: NDArray, n: NDArray | float, p: NDArray, q: NDArray, largest: float) -> NDArray:
    """P(Bin(n, p) <= k) with q = 1 - p, for every k; `largest` bounds n."""
    k, n, p, q = np.broadcast_arrays(k, n, p, q)
    inside = (k >= 0.0) & (k < n)
    ki, ni = np.where(inside, k, 0.0), np.where(inside, n, 1.0)
    if largest <= _FAST_TRIALS:
        # Several times faster; its relative error grows with n, to 1e-9 here, and its series fails above 1e6.
        value = special.bdtr(ki, ni.astype(np.int_), p)
    else:
        value = np.where(p <= 0.5, special.betaincc(ki + 1.0, ni - ki, p), special.betainc(ni - ki, ki + 1.0, q))
    return np.where(inside, value, np.where(k < 0.0, 0.0, 1.0))
