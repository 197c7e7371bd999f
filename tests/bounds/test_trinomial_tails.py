from itertools import pairwise

import numpy as np
import pytest
from scipy import special, stats

from lightning_rs.bounds.trinomial_tails import Cells, Curves, score, trinomial_tails


def curves(x1, x2, n, phi):
    observed = float(score(x1, n) - score(x2, n)) if phi else float(x1 - x2)
    return Curves(float(n), phi, 2 * x1 > n, observed, spread=0.01, target=9e-4)


def coordinates(of, q1):
    return special.ndtri(q1) if of.phi else q1 - 1.0 * of.upper_half


def tail(of, level, q1, q2_at):
    """The sum over every y2, at the largest q1 and the smallest q2 of a cell."""
    n = int(of.n)
    q2 = special.ndtr(special.ndtri(q2_at) - level) if of.phi else max(0.0, q2_at - level)
    y1, y2 = np.arange(n + 1), np.arange(n + 1)[:, None]
    statistic = score(y1, n) - score(y2, n) if of.phi else y1 - y2
    extreme = (statistic >= of.observed - 1e-9) & (y1 + y2 <= n)
    least = np.where(extreme.any(axis=1), extreme.argmax(axis=1), n + 1)
    above = stats.binom.sf(least - 1, n - y2[:, 0], min(1.0, q1 / (1 - q2)))
    return np.sum(stats.binom.pmf(y2[:, 0], n, q2) * above)


@pytest.mark.parametrize("phi", [True, False])
@pytest.mark.parametrize(
    ("x1", "x2", "n"), [(30, 8, 40), (20, 12, 63), (600, 200, 1000), (300, 250, 1000), (990, 2, 1000)]
)
def test_tails_dominate_the_exact_ones_and_close_in_with_more_groups(x1, x2, n, phi):
    of = curves(x1, x2, n, phi)
    centre = (x1 + 0.5) / (n + 1)
    level = (of.observed if phi else of.observed / n) - (0.4 if phi else 0.1) * np.sqrt(100 / n)
    edges = np.clip(np.linspace(0.97, 1.0, 5) * centre, 1e-9, 1 - 1e-9)
    v = coordinates(of, edges)
    coarse, fine, narrow = trinomial_tails(
        [
            Cells(of, level, v[:-1], v[1:], 16, True),
            Cells(of, level, v[:-1], v[1:], 512, True),
            Cells(of, level, v, v, 256, False),
        ]
    )
    exact = np.array([tail(of, level, right, left) for left, right in pairwise(edges)])
    assert np.all(coarse.probability >= exact) and np.all(fine.probability >= exact)
    assert np.all(fine.probability <= coarse.probability + 1e-15)
    assert fine.probability == pytest.approx(np.minimum(exact, 1.0), rel=0.02)
    points = np.array([tail(of, level, q1, q1) for q1 in edges])
    assert narrow.probability == pytest.approx(points, rel=0.02)
    assert np.all(fine.loss <= coarse.loss)


def test_answers_do_not_depend_on_what_else_is_asked():
    rng = np.random.default_rng(0)
    asked = []
    for _ in range(60):
        n = int(10 ** rng.uniform(0.5, 5.5))
        x1 = int(rng.integers(n // 2, n + 1))
        x2 = int(rng.integers(0, n - x1 + 1))
        of = curves(x1, x2, n, True)
        v = np.sort(rng.normal(special.ndtri((x1 + 0.5) / (n + 1)), 0.05, 9))
        asked.append(Cells(of, of.observed - 0.1, v[:-1], v[1:], int(2 ** rng.integers(3, 8)), bool(rng.integers(2))))
    for request, answer in zip(asked, trinomial_tails(asked), strict=True):
        (alone,) = trinomial_tails([request])
        assert np.array_equal(answer.probability, alone.probability)
        assert np.array_equal(answer.loss, alone.loss) and answer.evaluations == alone.evaluations


def test_scores_are_odd_about_the_middle():
    counts = np.arange(12)
    assert np.array_equal(score(counts, 11), -score(11 - counts, 11))
    assert score(counts, 11) == pytest.approx(special.ndtri((counts + 0.5) / 12), rel=1e-12)
