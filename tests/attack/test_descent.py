import pytest
import torch
from half_space import DISTANCE, IMAGE, NORMAL, SHAPE, true_distance

from lightning_rs.attack.balls import L1Ball, L2Ball, LinfBall
from lightning_rs.attack.descent import descend

UNIT = (NORMAL / NORMAL.norm()).double()
ORIGIN = IMAGE.double()


def margins(points):
    """Of a half-space, without noise."""
    return DISTANCE - (points - ORIGIN).flatten(1) @ UNIT, -UNIT.expand(len(points), -1).clone()


def starts(count, epsilon):
    delta = torch.linspace(-1, 1, 16 * count, dtype=torch.float64).view(count, 16)
    return 0.01 * delta, torch.full((count,), epsilon, dtype=torch.float64)


@pytest.mark.parametrize("ball", [L2Ball(), L1Ball(), LinfBall()], ids=lambda ball: ball.norm)
def test_in_a_ball_the_margin_falls_to_its_least_value(ball):
    epsilon = 0.8 * true_distance(ball.norm)
    delta, _ = descend(margins, ball, ORIGIN, *starts(2, epsilon), 30)
    values, _ = margins((ORIGIN.flatten() + delta).view(-1, *SHAPE))
    assert (ball.length(delta) <= epsilon * (1 + 1e-9)).all()
    assert values.tolist() == pytest.approx([0.2 * DISTANCE] * 2, abs=0.01 * DISTANCE)


@pytest.mark.parametrize("level", [0.0, -0.1])
@pytest.mark.parametrize("epsilon", [0.1, 2.5], ids=["from inside", "from outside"])
@pytest.mark.parametrize("ball", [L2Ball(), L1Ball(), LinfBall()], ids=lambda ball: ball.norm)
def test_the_ball_shrinks_or_grows_to_the_nearest_point_below_the_level(ball, epsilon, level):
    nearest = true_distance(ball.norm) * (DISTANCE - level) / DISTANCE
    start = starts(1, epsilon * nearest)
    delta, values = descend(margins, ball, ORIGIN, *start, 40, furthest=10.0, level=level)
    assert float(ball.length(delta)) == pytest.approx(nearest, rel=0.02)
    assert float(values) == pytest.approx(level, abs=0.02)


def test_nothing_goes_further_than_it_may():
    delta, _ = descend(margins, L2Ball(), ORIGIN, *starts(1, 0.1), 30, furthest=0.3)
    assert float(L2Ball().length(delta)) == pytest.approx(0.3)


def test_without_a_gradient_points_stay():
    def flat(points):
        return points.new_ones(len(points)), points.new_zeros(len(points), 16)

    start, epsilon = starts(2, 1.0)
    assert torch.equal(descend(flat, L2Ball(), ORIGIN, start, epsilon, 5)[0], start)
