"""Steps, projections and lengths against their definitions."""

import math

import numpy as np
import pytest
import torch
from scipy import optimize

from lightning_rs.attack.balls import L1Ball, L2Ball, LinfBall, SubspaceBall, ball_of
from lightning_rs.mechanisms import MechanismSet
from lightning_rs.mechanisms.cohen import Cohen

MASK = torch.tensor([True, False, True, True, False, True])
BALLS = [L2Ball(), L1Ball(), LinfBall(), SubspaceBall(MASK)]
NORMS = {"l2": 2, "l1": 1, "linf": np.inf, "l2_subspace": 2}
NUMBERS = torch.tensor([[0.3, -1.0, 2.0, 0.1, 0.0, -0.5], [0.01, 0.02, -0.03, 0.0, 0.01, 0.02]])
EPSILON = torch.tensor([0.7, 0.5])


@pytest.mark.parametrize("ball", BALLS, ids=lambda ball: ball.norm)
def test_projections_are_the_nearest_points_of_the_ball(ball):
    """Against a general solver, and unchanged within."""
    projected = ball.project(NUMBERS, EPSILON)
    assert (ball.length(projected) <= EPSILON.double() * (1 + 1e-6)).all()
    assert torch.equal(projected[1], ball.restrict(NUMBERS)[1])
    allowed = np.ones(6) if ball.norm != "l2_subspace" else MASK.numpy().astype(float)
    norm, numbers = NORMS[ball.norm], NUMBERS[0].double().numpy()
    solution = optimize.minimize(
        lambda d: ((d * allowed - numbers) ** 2).sum(),
        0.01 * np.sign(numbers),
        constraints={"type": "ineq", "fun": lambda d: 0.7 - np.linalg.norm(d * allowed, norm)},
        options={"maxiter": 500, "ftol": 1e-12},
    )
    assert np.allclose(projected[0].numpy(), solution.x * allowed, atol=2e-3)


@pytest.mark.parametrize("ball", BALLS, ids=lambda ball: ball.norm)
def test_steps_have_length_one_and_lead_upwards(ball):
    step = ball.steepest(NUMBERS)
    assert torch.allclose(ball.length(step), torch.ones(2, dtype=torch.float64))
    gain = (step * NUMBERS).sum(dim=1)
    # The dual norm is the most that any step of length 1 gains; with as few pixels as here a single one changes in l1.
    dual = {"l2": NUMBERS.norm(dim=1), "l1": NUMBERS.abs().amax(1), "linf": NUMBERS.abs().sum(1)}
    expected = dual.get(ball.norm, NUMBERS[:, MASK].norm(dim=1))
    assert torch.allclose(gain, expected) and torch.allclose(ball.slope(NUMBERS), expected)
    assert not ball.steepest(torch.zeros(2, 6)).any()


def test_steps_in_l1_change_a_twentieth_of_the_pixels():
    gradient = torch.arange(1.0, 101.0)[None] * torch.tensor([1.0, -1.0]).repeat(50)
    step = L1Ball().steepest(gradient)[0]
    assert step.nonzero().flatten().tolist() == [95, 96, 97, 98, 99]
    assert torch.allclose(step[95:], gradient.sign()[0, 95:] * torch.arange(1.0, 6.0) / 15)


@pytest.mark.parametrize("ball", BALLS, ids=lambda ball: ball.norm)
def test_lengths_are_in_float64_and_never_rounded_down(ball):
    exact = np.linalg.norm(ball.restrict(NUMBERS).numpy().astype(np.longdouble), NORMS[ball.norm], axis=1)
    length = ball.length(ball.restrict(NUMBERS))
    assert length.dtype == torch.float64
    assert (length.numpy() >= exact).all() and np.allclose(length.numpy(), exact.astype(float), rtol=1e-11)


def test_what_leaves_a_subspace_is_not_in_the_ball():
    ball = SubspaceBall(MASK)
    assert ball.length(NUMBERS).tolist() == [math.inf, math.inf]
    assert torch.equal(ball.restrict(NUMBERS) != 0, (NUMBERS != 0) & MASK)


@pytest.mark.parametrize("ball", BALLS, ids=lambda ball: ball.norm)
def test_lengths_of_most_directions(ball):
    generator = torch.Generator().manual_seed(0)
    random = torch.empty(50, 3000).normal_(generator=generator)
    norms = torch.linalg.vector_norm(random, NORMS[ball.norm], dim=1) / torch.linalg.vector_norm(random, dim=1)
    assert float(norms.median()) == pytest.approx(ball.per_l2(3000), rel=0.15 if ball.norm == "linf" else 0.03)


def test_balls_of_mechanisms():
    shape = (3, 4, 5)
    named = MechanismSet(["cohen", "mohapatra_l1", "mohapatra_linf", "cohen:norm=linf", "mohapatra_channel:channel=1"])
    l2, l1, linf, also_linf, subspace = (ball_of(mechanism, shape) for mechanism in named.values())
    assert (l2, l1, linf) == (L2Ball(), L1Ball(), LinfBall())
    assert also_linf == linf and len({l2, l1, linf, also_linf}) == 3
    assert subspace.mask.view(shape)[1].all() and subspace.mask.sum() == 20
    assert subspace == ball_of(named["mohapatra_channel:channel=1"], shape) != l2
    assert subspace != SubspaceBall(torch.ones(60, dtype=torch.bool))
    other = Cohen()
    other.norm = "l7"
    with pytest.raises(ValueError, match="^cohen certifies in l7; attacked are l2, l1, linf, and l2_subspace where"):
        ball_of(other, shape)
