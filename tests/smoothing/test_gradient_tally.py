"""Sums of the noise over the votes, made again draw by draw from their definition."""

import numpy as np
import pytest
import torch
from draws import Draws
from scipy import integrate, stats
from torch import nn

from lightning_rs import SmoothedClassifier, Statistics
from lightning_rs.noise import Stage
from lightning_rs.smoothing import gradient_tally
from lightning_rs.smoothing.gradient_tally import GRADIENT_FIELDS, GradientTally
from lightning_rs.statistics import gradient_moments

SHAPE = (3, 2, 2)


def by_definition(noise, voted):
    """(2, 2, *shape) sums and (2, 2) counts, draw by draw in float64."""
    sums, counts = np.zeros((2, 2, *noise.shape[1:])), np.zeros((2, 2), dtype=int)
    for t, (u, f) in enumerate(zip(noise.double().numpy(), voted.tolist(), strict=True)):
        sums[t % 2, 0] += u * (f - 0.5)
        sums[t % 2, 1] += u * (1 - f)
        counts[t % 2] += [1, 1 - f]
    return sums, counts


@pytest.fixture
def draws():
    rng = torch.Generator().manual_seed(0)
    return torch.randn((531, *SHAPE), generator=rng), torch.rand(531, generator=rng) < 0.8


@pytest.mark.parametrize("cuts", [[531], [1, 2, 99, 100, 101, 530, 531], [250, 251, 531]])
@pytest.mark.parametrize("piece", [7, 2**23])
def test_sums_equal_their_definition_wherever_batches_end(draws, cuts, piece, monkeypatch):
    monkeypatch.setattr(gradient_tally, "_PIECE", piece * 12)
    noise, voted = draws
    tally, start = GradientTally(SHAPE, "cpu", keep_sums=True), 0
    for end in cuts:
        tally.update(noise[start:end], voted[start:end], start)
        start = end
    held = tally.result()
    sums, counts = by_definition(noise, voted)
    assert np.array_equal(held["gradient_counts"], counts)
    assert np.allclose(held["gradient_sums"], sums, rtol=0, atol=1e-11)
    assert np.allclose(held["gradient_moments"], gradient_moments(sums[None])[0], rtol=1e-12)


def test_order_of_the_batches_does_not_matter(draws):
    noise, voted = draws
    tally = GradientTally(SHAPE, "cpu", lambda rows: rows.double() / 0.25)
    for start in (400, 0, 200):
        end = min(start + 200, 531)
        tally.update(noise[start:end] * 0.25, voted[start:end], start)
    held = tally.result()
    assert set(held) == {"gradient_counts", "gradient_moments"}
    assert np.allclose(held["gradient_moments"], gradient_moments(by_definition(noise, voted)[0][None])[0], rtol=1e-9)


def test_float64_sums_keep_what_float32_loses():
    """Many equal draws: in float32 their sum stands still or drifts; here it is exact to rounding."""
    value, n = 0.1, 200_001
    rows, votes = torch.full((1000, 1), value), torch.zeros(1000, dtype=torch.bool)
    tally = GradientTally((1,), "cpu", keep_sums=True)
    for start in range(0, n - 1, 1000):
        tally.update(rows, votes, start)
    exact = (n - 1) / 2 * float(np.float32(value))
    assert np.allclose(tally.result()["gradient_sums"][:, 1, 0], exact, rtol=1e-13)


def sample(fields, n=530, batch_size=64, shape=SHAPE):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 5)).eval()
    g = SmoothedClassifier(net, 5, 0.7, batch_size=batch_size, seed=3)
    x = torch.rand(2, *shape, generator=torch.Generator().manual_seed(1))
    return net, x, g.sample(x, [11, 4], n0=50, n=n, fields=fields)


def test_on_a_grid_the_sums_are_of_conditional_means():
    """E[z | k] / sigma of each draw k, by quadrature over its bin."""
    levels, sigma, n = 4, 0.25, 300
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 5)).eval()
    x = torch.randint(0, levels + 1, (1, *SHAPE)).float() / levels
    g = SmoothedClassifier(net, 5, sigma, levels=levels, batch_size=64, seed=3)
    statistics = g.sample(x, [11], n0=50, n=n, fields=["gradient_counts", "gradient_sums"])
    k = g.noise.source(3, SHAPE).fill(torch.empty(n, *SHAPE), 11, Stage.ESTIMATION, 0)
    with torch.no_grad():
        voted = net(x + k / levels).argmax(dim=1) == int(statistics.selected[0])

    def mean(value):
        a, b = ((value + side) / (sigma * levels) for side in (-0.5, 0.5))
        return integrate.quad(lambda t: t * stats.norm.pdf(t), a, b)[0] / np.diff(stats.norm.cdf([a, b]))[0]

    means = {value: mean(value) for value in np.unique(k.numpy()).tolist()}
    u = torch.tensor([means[value] for value in k.flatten().tolist()], dtype=torch.float64).view_as(k)
    assert np.allclose(statistics.gradient_sums[0], by_definition(u, voted)[0], rtol=0, atol=1e-9)


def test_the_sampler_feeds_the_noise_that_it_adds():
    net, x, s = sample(GRADIENT_FIELDS | {"selection_counts"})
    for i, index in enumerate((11, 4)):
        noise = Draws(3, index, Stage.ESTIMATION, SHAPE).fill(torch.empty(530, *SHAPE), 0)
        with torch.no_grad():
            voted = net(x[i] + 0.7 * noise).argmax(1) == s.selected[i]
        sums, counts = by_definition(noise, voted)
        # A vote may turn over in the last bit of float32.
        assert np.abs(s.gradient_counts[i] - counts).max() <= 1
        assert np.abs(s.gradient_sums[i] - sums).max() < (1e-9 if np.array_equal(s.gradient_counts[i], counts) else 8)
    assert s.input_shape == SHAPE
    other = sample(GRADIENT_FIELDS, batch_size=530)[2]
    assert np.allclose(other.gradient_sums, s.gradient_sums, atol=1e-9)


def test_nan_rows_count_against_the_class():
    def classifier(x):
        logits = torch.tensor([3.0, 0.0]).repeat(len(x), 1)
        logits[x[:, 0] > 1.0] = torch.nan
        return logits

    s = SmoothedClassifier(classifier, 2, 1.0).sample(torch.zeros(1, 1), n0=50, n=4000, fields=GRADIENT_FIELDS)
    noise = Draws(0, 0, Stage.ESTIMATION, (1,)).fill(torch.empty(4000, 1), 0).double().numpy()
    assert s.gradient_counts[0, :, 1].sum() == (noise > 1).sum() > 500
    assert s.gradient_sums[0, :, 1].sum() == pytest.approx(noise[noise > 1].sum(), rel=1e-12)


def test_sums_add_over_draws_and_moments_follow():
    s = sample(GRADIENT_FIELDS)[2]
    both = s + s
    assert np.array_equal(both.gradient_sums, 2 * s.gradient_sums)
    assert np.allclose(both.gradient_moments[..., :2], 4 * s.gradient_moments[..., :2])
    assert np.array_equal(both.gradient_counts, 2 * s.gradient_counts)
    joined = Statistics.concatenate([s, both])
    assert joined.gradient_moments.shape == (4, 2, 3, 4) and joined.input_shape == SHAPE


def test_no_example_at_all():
    g = SmoothedClassifier(nn.Linear(4, 2), 2, 0.5)
    s = g.sample(torch.zeros(0, 1, 2, 2), n0=5, n=10, fields=GRADIENT_FIELDS)
    assert s.gradient_sums.shape == (0, 2, 2, 1, 2, 2) and s.gradient_moments.shape == (0, 2, 1, 4)


def test_bad_input():
    s = sample(GRADIENT_FIELDS)[2]
    held = {name: getattr(s, name) for name in s.held if name != "counts"}
    swapped = s.counts[:, ::-1]
    other = {**held, "selection_counts": s.selection_counts[:, ::-1]}
    assert not np.array_equal(s.counts.max(1), 530 - s.gradient_counts[:, :, 1].sum(1) + 1)
    with pytest.raises(ValueError, match="these gradient statistics are of another image or class"):
        Statistics(0.7, s.counts, **{**held, "gradient_counts": s.gradient_counts[::-1]}, input_shape=SHAPE)
    with pytest.raises(ValueError, match="these gradient statistics are of another image or class"):
        Statistics(0.7, s.counts, **{**other}, input_shape=SHAPE)
    Statistics(0.7, swapped, **other, input_shape=SHAPE)
    with pytest.raises(ValueError, match=r"gradient_sums must have the shape \(2, 2, 2, 3, 4, 1\) like"):
        Statistics(0.7, s.counts, **held, input_shape=(3, 4, 1))
    with pytest.raises(ValueError, match="gradient statistics need gradient_counts and input_shape beside them"):
        Statistics(0.7, s.counts, **held)
    with pytest.raises(ValueError, match="gradient_sums must hold finite numbers"):
        Statistics(0.7, s.counts, **{**held, "gradient_sums": s.gradient_sums * np.inf}, input_shape=SHAPE)
    compact = Statistics(0.7, s.counts, **{k: v for k, v in held.items() if k != "gradient_sums"}, input_shape=SHAPE)
    with pytest.raises(ValueError, match="the statistics to add must hold gradient_sums"):
        compact + compact
    with pytest.raises(ValueError, match="statistics to concatenate must agree in sigma, classes, input shape"):
        Statistics.concatenate([s, sample(GRADIENT_FIELDS, shape=(3, 4, 1))[2]])
    with pytest.raises(ValueError, match="n0 must be at least 1 to collect gradient_moments, got 0"):
        SmoothedClassifier(nn.Linear(4, 2), 2, 0.5).sample(torch.zeros(1, 4), n0=0, fields=["gradient_moments"])
