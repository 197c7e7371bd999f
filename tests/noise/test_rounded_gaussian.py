"""Noise at inputs between the points of a grid: its law against exact probabilities, its sums in rationals."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from scipy import stats

from lightning_rs.mechanisms import MechanismSet
from lightning_rs.noise import (
    NOISES,
    Gaussian,
    GridGaussian,
    Noise,
    Purpose,
    RoundedGaussian,
    Stage,
    make_noise,
    off_grid,
)

SELECTION, ESTIMATION = Stage.SELECTION, Stage.ESTIMATION


def perturbed(noise, x, count, index=0, stage=ESTIMATION, start=0, dtype=torch.float32, **options):
    source = noise.source(options.pop("seed", 0), tuple(x.shape), dtype, purpose=Purpose.ATTACK)
    out = torch.empty(count, *x.shape, dtype=dtype)
    source.perturb(out, x.to(dtype), index, stage, start, **options)
    return out


def test_probabilities_at_points_between_the_levels():
    """P(Q(x' + z) = k / L) = Phi((k + 1/2 - L x') / (L sigma)) - Phi((k - 1/2 - L x') / (L sigma)), by chi-square."""
    noise = RoundedGaussian(0.1, 10, 9)
    for steps in (0, 1, 4, 5, 44, 45, 46, 89, -7, 131):
        exact = steps / 90
        x = torch.full((2, 5000), exact)
        k = (perturbed(noise, x, 20, index=steps % 7) * 10).round().long().flatten().numpy()
        places = np.arange(-30, 50)
        p = stats.norm.cdf(places + 0.5, 10 * exact, 1.0) - stats.norm.cdf(places - 0.5, 10 * exact, 1.0)
        kept = p * len(k) > 20
        counts = np.bincount(k + 30, minlength=80)[kept]
        observed, expected = [*counts, len(k) - counts.sum()], [*p[kept], 1 - p[kept].sum()]
        assert stats.chisquare(observed, np.array(expected) * len(k)).pvalue > 1e-4, steps


@pytest.mark.parametrize("ratio", [1, 3, 15])
def test_the_sum_of_every_point_and_draw_is_rounded_as_the_real_sum_is(ratio):
    """All real z that the fine draw w stands for give the same level, and it is the one that is decoded."""
    noise, levels = RoundedGaussian(0.2, 16, ratio), 16 * ratio
    points = torch.arange(-2 * levels, 3 * levels + 1)
    x = points.float() / levels
    draws = torch.empty(40, len(x))
    decoded = perturbed(noise, x, 40, draws=draws)
    for row, out in zip(draws.tolist()[:5], decoded.tolist()[:5], strict=True):
        for j, w, y in zip(points.tolist(), row, out, strict=True):
            least, most = (Fraction(2 * (j + int(w)) + sign, 2 * levels) for sign in (-1, 1))
            cell = math.floor(least * 16 + Fraction(1, 2))
            assert cell == math.ceil(most * 16 + Fraction(1, 2)) - 1
            assert y == float(np.float32(cell) / np.float32(16))


def test_on_the_grid_it_is_the_noise_of_the_certificates():
    """The same values, from the same table, and the same law, at every level of 8-bit images."""
    noise, certified = RoundedGaussian(0.02, 255, 3), GridGaussian(0.02, 255)
    x = torch.arange(256).float() / 255
    ours, theirs = (perturbed(n, x, 2000).double().numpy() for n in (noise, certified))
    assert np.isin(ours, np.append(theirs, certified.source(0, (1,))._decoded.double())).all()
    assert stats.ks_2samp((ours - x.numpy()).ravel(), (theirs - x.numpy()).ravel()).pvalue > 1e-4


def test_draws_are_addressed_and_standardised_as_those_of_the_fine_grid():
    noise, shape = RoundedGaussian(0.25, 16, 5), (3, 4)
    x = noise.quantize(torch.linspace(-1, 2, 12).view(shape)).float()
    draws = torch.empty(70, *shape)
    whole = perturbed(noise, x, 70, index=4, draws=draws)
    assert torch.equal(perturbed(noise, x, 30, index=4, start=40), whole[40:])
    for other in ({"index": 5}, {"stage": SELECTION}, {"seed": 1}):
        assert not torch.equal(perturbed(noise, x, 70, **{"index": 4} | other), whole)
    ours, fine = (n.source(0, shape, purpose=Purpose.ATTACK) for n in (noise, GridGaussian(0.25, 80)))
    assert torch.equal(ours.standardised(draws), fine.standardised(draws))
    assert torch.equal(fine.fill(torch.empty(70, *shape), 4, ESTIMATION, 0), draws)
    assert noise.sampling_error(1000, shape) == GridGaussian(0.25, 80).sampling_error(1000, shape) > 0


def test_points_are_the_nearest_of_the_fine_grid_wherever_they_lie():
    noise = RoundedGaussian(0.25, 16, 5)
    x = torch.tensor([-1.51, 0.0, 0.4999, 7.3])
    assert torch.equal(noise.quantize(x), (x.double() * 80).round() / 80)
    noise.check_input(x)
    with pytest.raises(ValueError, match="finite inputs"):
        noise.check_input(torch.tensor([float("nan")]))
    with pytest.raises(ValueError, match="pixels must be within 1.34218e\\+07, got 1e\\+08"):
        noise.check_input(torch.tensor([1e8]))


@pytest.mark.parametrize(
    ("scale", "grid", "ratio"),
    [(0.25, 255, 7), (0.25, 16, 127), (1.0, 255, 7), (16.0, 255, 1), (0.1, 65535, 1), (0.1, 10_000, 5)],
)
def test_a_sigma_is_about_500_steps_and_more_where_levels_are_too_coarse(scale, grid, ratio):
    assert RoundedGaussian(scale, grid).ratio == ratio


def test_no_certificate_is_made_under_it():
    with pytest.raises(ValueError, match="cohen certifies under gaussian or grid_gaussian noise, got rounded_gaussian"):
        MechanismSet(["cohen"]).check_noise(RoundedGaussian.name)
    assert RoundedGaussian.name not in NOISES
    with pytest.raises(ValueError, match="unknown noise 'rounded_gaussian'"):
        make_noise("rounded_gaussian", 0.25, 16)
    with pytest.raises(ValueError, match="ratio must be odd, .* got 4"):
        RoundedGaussian(0.25, 16, 4)


def test_the_noise_off_the_grid():
    assert off_grid(Gaussian(0.5)) == Gaussian(0.5)
    assert off_grid(GridGaussian(0.5, 16)) == RoundedGaussian(0.5, 16)

    class Own(GridGaussian):
        name = "own"

    with pytest.raises(ValueError, match="between the levels of own noise nothing is known"):
        off_grid(Own(0.5, 16))
    assert isinstance(off_grid(GridGaussian(0.5, 16)), Noise)
