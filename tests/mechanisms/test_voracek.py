import numpy as np
import pytest
from hypothesis import given, settings
from scipy.stats import binom, norm
from vote_cases import ALPHAS, VOTES, of_first, radius

from lightning_rs import Statistics
from lightning_rs.mechanisms import get_mechanism


@settings(max_examples=60)
@given(VOTES, ALPHAS)
def test_never_below_one_sided(counts, alpha):
    assert of_first("voracek", counts, alpha) >= of_first("cohen", counts, alpha) * (1 - 1e-9)


def test_radius_falls_with_the_uniform_draw():
    uniform = np.linspace(0.01, 0.99, 50)
    falling = radius("voracek", [[900, 100]] * 50, selection=[[1, 0]] * 50, uniform=uniform)
    assert np.all(np.diff(falling) < 0)
    neighbours = [radius("cohen", [top, 1000 - top])[0] for top in (900, 901)]
    assert np.all((falling >= neighbours[0]) & (falling <= neighbours[1]))


@pytest.mark.parametrize("p", [0.55, 0.8, 0.97])
def test_randomised_coverage(p):
    """Exactly alpha up to the grid of the uniform draw, except where the radius is capped or abstained."""
    alpha, trials, grid = 0.05, 40, (np.arange(400) + 0.5) / 400
    failure, uniform = 0.0, grid[::20]
    for x in range(trials + 1):
        votes = [[x, trials - x]] * len(uniform)
        given_x = radius("voracek", votes, alpha, [[1, 0]] * len(uniform), uniform=uniform) > norm.ppf(p)
        failure += binom.pmf(x, trials, p) * np.mean(given_x)
    assert failure <= alpha + 0.01
    assert np.isfinite(radius("voracek", [trials, 0], alpha, [1, 0], uniform=0.01)[0])


def test_bad_input():
    alone = Statistics.from_counts([[90, 10]], 1.0)
    with pytest.raises(ValueError, match="voracek needs uniform, which these statistics do not hold"):
        get_mechanism("voracek").certify(alone, 0.001)
