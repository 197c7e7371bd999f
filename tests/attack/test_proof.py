import itertools
import math

import pytest
import torch
from half_space import IMAGE, NORMAL, SHAPE, SIGMA, HalfSpace

from lightning_rs.attack.balls import L1Ball, L2Ball, SubspaceBall
from lightning_rs.attack.claims import MajorityVote
from lightning_rs.attack.proof import Points, Proofs
from lightning_rs.attack.settings import AttackSettings
from lightning_rs.noise import Gaussian, RoundedGaussian
from lightning_rs.smoothing.sampler import Sampler

NOISES = [Gaussian(SIGMA), RoundedGaussian(SIGMA, 16, 9)]
UNIT = NORMAL / NORMAL.norm()


def proofs(classifier, noise=NOISES[0], n=1000, **settings):
    settings = AttackSettings(n=n, **settings)
    sampler = Sampler(classifier, 2, noise, n + 100, settings.seed, torch.device("cpu"))
    return Proofs(sampler, settings, Points(noise, IMAGE), itertools.count(1), MajorityVote(), 0)


@pytest.mark.parametrize("noise", NOISES, ids=lambda noise: noise.name)
def test_points_are_no_further_than_asked_and_where_the_noise_can_be_added(noise):
    points, delta = Points(noise, IMAGE), torch.linspace(-1.7, 2.3, 16)[None]
    point = points.at(delta)
    assert point.shape == (1, *SHAPE) and point.dtype == torch.float32
    moved = points.from_image(point)
    assert moved.dtype == torch.float64
    if noise.name == "gaussian":
        assert torch.allclose(moved, delta.double(), atol=1e-6)
    else:
        assert (moved.abs() <= delta.abs() + 1e-7).all() and ((moved - delta).abs() < 1 / 144 + 1e-7).all()
        steps = point.double() * 144
        assert torch.allclose(steps, steps.round(), atol=1e-4)


@pytest.mark.parametrize("noise", NOISES, ids=lambda noise: noise.name)
def test_what_is_broken_is_proved_and_what_holds_is_not(noise):
    found = proofs(HalfSpace(), noise)
    assert not found.refutes(0.35 * UNIT) and not found.refutes(-UNIT)
    assert found.distance(L2Ball()) == math.inf
    assert found.refutes(0.6 * UNIT) and found.refutes(0.5 * UNIT)
    assert found.tried == 4
    assert found.distance(L2Ball()) == pytest.approx(0.5, abs=0.01)
    assert found.distance(L1Ball()) == pytest.approx(0.5 * float(UNIT.abs().sum()), rel=0.04)
    assert found.distance(SubspaceBall(NORMAL > 0)) == math.inf


def test_all_tries_together_spend_at_most_alpha():
    """At points where both classes are as likely every proof is wrong: few are, in hundreds of tries of many claims."""
    found = proofs(HalfSpace(), alpha=0.05)
    spent = []
    for found.tried in range(10_000):
        spent.append(found.alpha)
    assert 0.0499 < math.fsum(spent) <= 0.05 and spent[:2] == pytest.approx([0.025, 0.05 / 6])
    wrong = 0
    for seed in range(60):
        coin = proofs(HalfSpace(), n=100, alpha=0.05, seed=seed)
        wrong += any([coin.refutes(0.4 * UNIT) for _ in range(4)])
    assert wrong <= 8  # Of Bin(60, .05) with probability .997.


def test_every_try_has_draws_of_its_own():
    asked = []

    def classifier(x):
        asked.append(x.clone())
        return HalfSpace()(x)

    found = proofs(classifier, n=50)
    for _ in range(2):
        found.refutes(0.5 * UNIT)
    first, second = (rows for rows in asked if len(rows) == 150)
    assert not torch.isin(first, second).any()


def test_answers_that_are_no_numbers_prove_nothing():
    def classifier(x):
        scores = HalfSpace()(x)
        scores[x.flatten(1)[:, 0] > 1.0] = math.nan
        return scores

    found = proofs(classifier)
    assert not found.refutes(0.8 * UNIT) and found.tried == 1


def test_the_probability_of_an_inexact_draw_is_part_of_alpha(monkeypatch):
    monkeypatch.setattr(Gaussian, "sampling_error", lambda *_: 0.001)
    assert not proofs(HalfSpace(), alpha=0.001).refutes(UNIT)
    assert proofs(HalfSpace(), alpha=0.01).refutes(UNIT)
