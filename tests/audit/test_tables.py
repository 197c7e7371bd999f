"""Sums over the grid, against sums in 40-digit arithmetic of what the classifiers really answer there."""

import numpy as np
import pytest
import torch
from mpmath import mp

from lightning_rs.audit.claim import Claim
from lightning_rs.audit.known import SURE
from lightning_rs.audit.tables import Table, bands, tuned, worst_region
from lightning_rs.mechanisms import first_order_l1_radius, parse_mechanism
from lightning_rs.noise import GridGaussian

NOISE = GridGaussian(0.25, 8)
SPREAD = mp.mpf(2)


def claim(mechanism, shape):
    return Claim.of(parse_mechanism(mechanism), shape)


def expected(known, place, what):
    """Brute force: every integer of every pixel of the image, its probability at `place` and `what` of its logits."""
    reach = np.arange(-20, 21)
    grids = [round(float(p)) + reach for p in place]
    weights = [
        [mp.ncdf((k + mp.mpf(0.5) - p) / SPREAD) - mp.ncdf((k - mp.mpf(0.5) - p) / SPREAD) for k in grid.tolist()]
        for grid, p in zip(grids, place, strict=True)
    ]
    rows = np.stack(np.meshgrid(*grids, indexing="ij"), axis=-1).reshape(-1, len(place))
    logits = known(torch.from_numpy(rows).float().reshape(-1, *known.image.shape) / 8)
    values = what(logits.double()).numpy()
    chances = [mp.fprod(w) for w in np.stack(np.meshgrid(*weights, indexing="ij"), -1).reshape(-1, len(place)).tolist()]
    return np.array([float(mp.fdot(chances, column.tolist())) for column in values.T])


def votes(logits):
    return torch.eye(logits.shape[1], dtype=torch.float64)[logits.argmax(dim=1)]


def scores(logits):
    return torch.softmax(logits.float(), dim=1).double()  # As they are summed.


def margins(logits):
    own = scores(logits)
    rivals = [[j for j in range(own.shape[1]) if j != c] for c in range(own.shape[1])]
    return torch.stack([own[:, c] - own[:, others].amax(dim=1) for c, others in enumerate(rivals)], dim=1)


def graded():
    return bands([3, 7], 2.0 * torch.eye(3), torch.full((1, 1, 1), 0.5), NOISE)


@pytest.mark.parametrize(
    ("mechanism", "what", "needs"),
    [
        ("cohen", votes, None),
        ("salman", scores, None),
        ("kumar_score:confidence=0.5", scores, 0.5),
        ("kumar_margin:confidence=0.1", margins, 0.1),
    ],
)
def test_one_pixel(mechanism, what, needs):
    """The claim holds just within the radius and fails just beyond it, on one side of the image at least."""
    known = graded()
    assert known.votes == pytest.approx(expected(known, [4.0], votes), abs=1e-15)
    radius = 8 * known.radius(1, claim(mechanism, (1, 1, 1)))
    assert 0 < radius < 4

    def holds(place):
        e = expected(known, [place], what)
        return e[1] >= needs if needs else e[1] > max(e[0], e[2])

    for factor, sides in ((1 - 1e-7, [True, True]), (1 + 1e-7, [False, True])):
        assert sorted(holds(4.0 + side * factor * radius) for side in (1, -1)) == sides


def test_a_claim_that_is_false_at_the_image_has_no_radius():
    assert graded().radius(0, claim("cohen", (1, 1, 1))) == 0.0
    assert graded().radius(1, claim("kumar_score:confidence=0.99", (1, 1, 1))) == 0.0


def test_pixels_that_are_not_read_may_change():
    known = bands([3], SURE * torch.eye(2), torch.full((2, 1, 1), 0.5), NOISE)
    assert known.radius(1, claim("mohapatra_channel:channel=1", (2, 1, 1))) == np.inf
    for mechanism in ("cohen", "mohapatra_l1", "mohapatra_linf", "mohapatra_channel"):
        assert known.radius(1, claim(mechanism, (2, 1, 1))) == pytest.approx(1.5 / 8, rel=1e-12)


@pytest.mark.parametrize("diagonal", [False, True])
def test_two_pixels(diagonal):
    shape = (2, 1, 1)
    known = worst_region(1.0, (1.1, 0.3, 0.5), diagonal, torch.full(shape, 0.5), NOISE)
    assert known.votes == pytest.approx(expected(known, [4.0, 4.0], votes), abs=1e-14)
    rng = np.random.default_rng(0)
    steps = rng.normal(size=(2000, 2))
    for mechanism, order in (("cohen", 2), ("mohapatra_l1", 1), ("mohapatra_linf", np.inf)):
        about = claim(mechanism, shape)
        radius = 8 * known.radius(1, about)
        unit = steps / np.linalg.norm(steps, ord=order, axis=1, keepdims=True)
        assert known._slack(1, about, 4.0 + 0.9999 * radius * unit).min() > 0
        assert known._slack(1, about, 4.0 + 1.02 * radius * unit).min() < 0
    # What the search goes by, where it is nearest to 0, by brute force.
    place = 4.0 + radius * unit[known._slack(1, about, 4.0 + radius * unit).argmin()]
    against, inside = expected(known, place, votes)
    assert known._slack(1, about, place[None])[0] == pytest.approx(inside - against, abs=1e-13)


def test_the_worst_region_is_what_first_order_theory_says_it_is():
    """From its true probability and gradient the theory must give its true radius, but for what the grid costs."""
    known = worst_region(1.0, (1.1, 0.3, 0.5), False, torch.full((2, 1, 1), 0.5), GridGaussian(0.25, 16))
    h = 1e-4
    points = 8.0 + h * np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    p = known._expected("vote", points)[:, 1]
    b = np.array([p[0] - p[1], p[2] - p[3]]) / (2 * h) * 4.0
    theory = first_order_l1_radius(known.votes[1], np.abs(b).max(), np.linalg.norm(b), 0.25)
    truth = known.radius(1, claim("mohapatra_l1", (2, 1, 1)))
    assert 0.97 * truth < theory < truth


def test_tuned_to_a_share():
    def make(sigma):
        return bands([3, 6], SURE * torch.eye(2)[[0, 1, 0]], torch.full((1, 1, 1), 0.5), GridGaussian(sigma, 8))

    assert tuned(make, 1, 0.6, 0.1, 1.0).votes[1] == pytest.approx(0.6, abs=1e-13)


def test_integers_outside_the_table_have_the_scores_of_the_nearest():
    known = Table(torch.eye(3), [3], [0], torch.full((1, 1, 1), 0.5), NOISE)
    rows = torch.tensor([-9.0, 2.0, 3.0, 4.0, 5.0, 30.0]).reshape(-1, 1, 1, 1) / 8
    assert known(rows).argmax(dim=1).tolist() == [0, 0, 0, 1, 2, 2]
