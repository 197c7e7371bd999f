"""The contract of a noise, held by one that is not of lightning_rs: uniform on [-scale, scale] in every coordinate."""

import hashlib

import numpy as np
import pytest
import torch
from torch import nn

from lightning_rs import SmoothedClassifier
from lightning_rs.bounds import clopper_pearson_lower
from lightning_rs.mechanisms import Mechanism, get_mechanism
from lightning_rs.mechanisms.base import certificate_of_selected
from lightning_rs.noise import BLOCK, Gaussian, Noise, NoiseSource, Purpose, Stage, uniform
from lightning_rs.noise.base import philox

SHAPE = (3, 2, 2)


class BoxSource(NoiseSource):
    def perturb(self, out, x, index, stage, start, draws=None):
        self.fill(out, index, stage, start)
        if draws is not None:
            draws.copy_(out)
        out.mul_(self.noise.scale).add_(x)

    def _draw(self, index, stage, block, out):
        values = self.generator(index, stage, block).uniform(-1.0, 1.0, size=tuple(out.shape))
        out.copy_(torch.from_numpy(values))


class Box(Noise):
    """Uniform on [-scale, scale]^d."""

    name = "box"
    source_class = BoxSource

    def draw(self, x, copies=1, generator=None):
        return self.scale * x.new_empty((copies * len(x), *x.shape[1:])).uniform_(-1.0, 1.0, generator=generator)


class BoxInL1(Mechanism):
    """R = scale (2 p_lower - 1) in l1: a shift by s moves at most s / (2 scale) of the probability."""

    name = "box_l1"
    norm = "l1"
    noises = frozenset({"box"})
    source = "G. Yang et al., Randomized Smoothing of All Shapes and Sizes, 2020"

    def _certify(self, statistics, alpha):
        votes = statistics.counts[np.arange(len(statistics)), statistics.selected]
        p_lower = clopper_pearson_lower(votes, statistics.trials, alpha)
        return certificate_of_selected(statistics, statistics.sigma * (2.0 * p_lower - 1.0), p_lower)


@pytest.fixture
def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 5)).eval()


@pytest.fixture
def images():
    return torch.rand(3, *SHAPE, generator=torch.Generator().manual_seed(1))


def test_votes_are_those_of_its_draws(net, images):
    """Counted again draw by draw, straight from the definition."""
    statistics = SmoothedClassifier(net, 5, Box(2.0), batch_size=64, seed=9).sample(images, [17, 0, 5], n0=30, n=230)
    assert (statistics.sigma, statistics.noise) == (2.0, "box")
    source = Box(2.0).source(9, SHAPE)
    for i, index in enumerate((17, 0, 5)):
        for stage, counts in (
            (Stage.SELECTION, statistics.selection_counts),
            (Stage.ESTIMATION, statistics.counts),
        ):
            draws = source.fill(torch.empty(int(counts[i].sum()), *SHAPE), index, stage, 0)
            assert draws.abs().max() <= 1.0
            with torch.no_grad():
                votes = net(images[i] + 2.0 * draws).argmax(dim=1)
            assert np.array_equal(counts[i], np.bincount(votes, minlength=5))
    assert np.count_nonzero(statistics.counts) > 6


def test_statistics_do_not_depend_on_batches_order_or_company(net, images):
    whole = SmoothedClassifier(net, 5, Box(2.0)).sample(images, n0=20, n=530)
    for batch_size in (7, 64, 1000):
        g = SmoothedClassifier(net, 5, Box(2.0), batch_size=batch_size)
        assert np.array_equal(g.sample(images, n0=20, n=530).counts, whole.counts)
        backwards = g.sample(images.flip(0), [2, 1, 0], n0=20, n=530)
        assert np.array_equal(backwards.counts[::-1], whole.counts)
        assert np.array_equal(g.sample(images[1:2], [1], n0=20, n=530).counts[0], whole.counts[1])


def test_draws_do_not_depend_on_how_they_are_cut():
    source = Box(1.0).source(3, SHAPE)
    whole = source.fill(torch.empty(3 * BLOCK + 37, *SHAPE), 4, Stage.ESTIMATION, 0)
    for start, count in ((0, 1), (BLOCK - 1, 2), (250, 87), (1, 3 * BLOCK), (0, BLOCK)):
        part = source.fill(torch.empty(count, *SHAPE), 4, Stage.ESTIMATION, start)
        assert torch.equal(part, whole[start : start + count])


def test_noisy_copies_and_the_draws_beside_them():
    source, x = Box(0.5).source(3, SHAPE), torch.rand(SHAPE)
    out, draws = torch.empty(150, *SHAPE), torch.empty(150, *SHAPE)
    source.perturb(out, x, 4, Stage.ESTIMATION, 30, draws)
    assert torch.equal(draws, source.fill(torch.empty(150, *SHAPE), 4, Stage.ESTIMATION, 30))
    assert torch.allclose(out, x + 0.5 * draws)


def test_a_mechanism_made_for_it_certifies_to_the_true_distance():
    """Class 0 where x_0 <= 0: the true l1 radius of an input at x_0 = -d is d."""
    distances = torch.tensor([0.1, 0.5, 0.9])
    x = torch.zeros(3, 4)
    x[:, 0] = -distances
    g = SmoothedClassifier(lambda rows: torch.stack([-rows[:, 0], rows[:, 0]], dim=1), 2, Box(1.0))
    certificate = g.certify(x, n0=100, n=20_000, alpha=0.001, mechanisms=[BoxInL1()])["box_l1"]
    assert certificate.prediction.tolist() == [0, 0, 0] and certificate.norm == "l1"
    assert np.all(certificate.radius <= distances.numpy())
    assert np.all(certificate.radius >= distances.numpy() - 0.03)


def test_mechanisms_that_are_not_made_for_it_are_refused_before_sampling():
    def untouched(x):
        raise AssertionError("nothing may be sampled")

    x = torch.zeros(1, 4)
    with pytest.raises(ValueError, match="^cohen certifies under gaussian or grid_gaussian noise, got box$"):
        SmoothedClassifier(untouched, 2, Box(0.5)).certify(x)
    with pytest.raises(ValueError, match="^cohen certifies under gaussian or grid_gaussian noise, got box$"):
        SmoothedClassifier(untouched, 2, Box(0.5)).certify(x, mechanisms=[BoxInL1(), get_mechanism("cohen")])
    with pytest.raises(ValueError, match="^box_l1 certifies under box noise, got gaussian$"):
        SmoothedClassifier(untouched, 2, Gaussian(0.5)).certify(x, mechanisms=[BoxInL1()])


def test_fresh_draws_for_training():
    noise, x = Box(0.5), torch.zeros(2, *SHAPE, dtype=torch.float64)
    drawn = noise.draw(x, copies=3, generator=torch.Generator().manual_seed(0))
    assert drawn.shape == (6, *SHAPE) and drawn.dtype == torch.float64
    assert 0.4 < drawn.abs().max() <= 0.5
    assert torch.equal(drawn, noise.draw(x, copies=3, generator=torch.Generator().manual_seed(0)))


def test_a_noise_is_a_value():
    assert Box(0.5) == Box(0.5) and len({Box(0.5), Box(0.5), Box(1.0)}) == 2
    assert Box(0.5) != Box(1.0) and Box(0.5) != Gaussian(0.5)
    assert repr(Box(0.5)) == "Box(0.5)"


def test_blocks_are_apart():
    """Generators of different (seed, index, stage, block) share no number, and the same always give the same."""
    keys = [
        (s, i, g, b)
        for s in (0, 1)
        for i in (0, 2**64 - 1)
        for g in (Stage.SELECTION, Stage.ESTIMATION)
        for b in (0, 1)
    ]
    values = [philox(*key).random(1000) for key in keys]
    assert len(np.unique(np.concatenate(values))) == 1000 * len(keys)
    assert all(np.array_equal(philox(*key).random(1000), value) for key, value in zip(keys, values, strict=True))


def test_another_device_is_seeded_by_a_hash_of_the_address():
    def seeds(seed, index, purpose):
        source = Box(1.0).source(seed, SHAPE, purpose=purpose)
        return [source.device_generator(index, g, b).initial_seed() for g in Stage for b in (0, 1)]

    keys = [(s, i, purpose) for s in (0, 2**64 - 1) for i in (0, 12) for purpose in Purpose]
    found = [seeds(*key) for key in keys]
    assert len(np.unique(np.array(found, dtype=np.uint64))) == np.size(found)
    assert found == [seeds(*key) for key in keys]
    assert found[0][0] == int.from_bytes(hashlib.blake2b(b"0,0,0,0", digest_size=8).digest(), "little")


def test_the_uniform_draw_is_of_its_own_stage():
    drawn = np.array([uniform(3, index) for index in range(500)])
    assert np.all((drawn > 0.0) & (drawn < 1.0)) and abs(drawn.mean() - 0.5) < 5 / np.sqrt(12 * 500)
    generator = np.random.Generator(np.random.Philox(key=[3, 11], counter=[0, 0, 3, 0]))
    assert uniform(3, 11) == generator.random()


@pytest.mark.parametrize("scale", [0.0, -1.0, float("inf"), float("nan")])
def test_scale_must_be_positive(scale):
    with pytest.raises(ValueError, match="sigma must be positive and finite, got "):
        Box(scale)


def test_bad_input():
    for arguments, message in (
        ((-1, SHAPE), "seed must be an integer of at least 0, got -1"),
        (
            (0, SHAPE, torch.bfloat16),
            r"noise is drawn in torch\.float32 or torch\.float64, got inputs of torch\.bfloat16",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            Box(1.0).source(*arguments)
    with pytest.raises(ValueError, match="index must be an integer of at least 0, got -1"):
        Box(1.0).source(0, SHAPE).fill(torch.empty(1, *SHAPE), -1, Stage.ESTIMATION, 0)


class OnLevels(Box):
    """Takes an option, and inputs on a grid alone."""

    name = "on_levels"

    def __init__(self, scale, levels=4):
        super().__init__(scale)
        self.levels = levels


def test_the_label_says_the_options():
    assert Gaussian(0.5).label == "gaussian"
    assert OnLevels(0.5).label == "on_levels:levels=4"
    assert OnLevels(0.5, levels=8).label == "on_levels:levels=8"
    assert OnLevels(0.5) != OnLevels(0.5, levels=8)


def test_inputs_off_the_levels_are_refused_with_their_first_pixel(net, images):
    on_grid = (images * 4).round() / 4
    smoothed = SmoothedClassifier(net, 5, OnLevels(0.5))
    assert smoothed.sample(on_grid, n0=5, n=20).counts.sum() == 60
    on_grid[1, 2, 0, 1] += 0.1
    message = r"^example 7: on_levels noise needs inputs that are multiples of 1/4 in \[0, 1\]; pixel \(2, 0, 1\) is "
    with pytest.raises(ValueError, match=message):
        smoothed.sample(on_grid, [6, 7, 8], n0=5, n=20)
