import numpy as np
import pytest
import torch
from draws import Draws
from scipy import stats

from lightning_rs.noise import BLOCK, Gaussian, Stage

SHAPE = (1, 3, 5)


def draw(start, count, seed=0, index=0, stage=Stage.ESTIMATION, shape=SHAPE, dtype=torch.float32):
    return Draws(seed, index, stage, shape, dtype).fill(torch.empty(count, *shape, dtype=dtype), start)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_draw_does_not_depend_on_how_batches_are_cut(dtype):
    whole = draw(0, 1037, dtype=dtype)
    for batch_size in (1, 7, 64, BLOCK, 250, 1000, 5000):
        stream = Draws(0, 0, Stage.ESTIMATION, SHAPE, dtype)
        parts = [
            stream.fill(torch.empty(min(batch_size, 1037 - start), *SHAPE, dtype=dtype), start)
            for start in range(0, 1037, batch_size)
        ]
        assert torch.equal(torch.cat(parts), whole)
    # Backwards, from the middle, and from a stream that drew other things before.
    stream = Draws(0, 0, Stage.ESTIMATION, SHAPE, dtype)
    for start in (900, 37, 512, 36):
        assert torch.equal(stream.fill(torch.empty(60, *SHAPE, dtype=dtype), start), whole[start : start + 60])


def test_draws_are_pinned():
    """Part of the contract: records stay reproducible across releases, whatever the block and the stage."""
    pinned = {
        (Stage.ESTIMATION, 0): [1.373938798904419, -0.9077140688896179, 1.7665826082229614, -2.178920030593872],
        (Stage.ESTIMATION, 149): [1.2969632148742676, 0.8283615112304688, -0.8865984678268433, -1.3386821746826172],
        (Stage.SELECTION, 0): [-1.4470674991607666, -0.9134206771850586, -0.5155606865882874, 1.8603298664093018],
        (Stage.SELECTION, 149): [0.16210338473320007, -1.3215070962905884, 0.3612562417984009, 0.7387931942939758],
    }
    for (stage, number), values in pinned.items():
        assert draw(number, 1, seed=7, index=3, stage=stage, shape=(4,))[0].tolist() == values
    first = draw(0, 1, seed=7, index=3, shape=(4,))[0]
    generator = np.random.Generator(np.random.Philox(key=[7, 3], counter=[0, 0, 1, 0]))
    assert np.array_equal(first.numpy(), generator.standard_normal(400, dtype=np.float32)[:4])


def test_everything_that_should_change_the_noise_does():
    base = draw(0, 300)
    for other in (draw(0, 300, seed=1), draw(0, 300, index=1), draw(0, 300, stage=Stage.SELECTION)):
        assert not torch.isin(base, other).float().mean() > 0.01
    stages = [draw(0, 300, stage=stage).flatten().numpy() for stage in Stage]
    for i, a in enumerate(stages):
        for b in stages[i + 1 :]:
            assert abs(np.corrcoef(a, b)[0, 1]) < 5 / np.sqrt(len(a))
    # Consecutive blocks and indices do not overlap with a shift either.
    flat = base.flatten().numpy()
    assert len(np.unique(flat)) > 0.99 * len(flat)


def test_distribution():
    sample = draw(0, 20_000, shape=(10,)).double().flatten().numpy()
    assert stats.kstest(sample, "norm").pvalue > 1e-3
    assert np.abs(sample).max() > 4.2
    rows = sample.reshape(-1, 10)
    correlation = np.corrcoef(rows.T) - np.eye(10)
    assert np.abs(correlation).max() < 5 / np.sqrt(len(rows))
    lagged = np.corrcoef(rows[:-1].ravel(), rows[1:].ravel())[0, 1]
    assert abs(lagged) < 5 / np.sqrt(rows.size)


def test_global_random_state_is_left_alone():
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002
    expected = torch.rand(3), np.random.rand(3)  # noqa: NPY002
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002
    draw(0, 500)
    assert torch.equal(torch.rand(3), expected[0])
    assert np.array_equal(np.random.rand(3), expected[1])  # noqa: NPY002


def test_large_seeds_and_indices_differ():
    """Beyond 2**63 floats no longer tell neighbours apart."""
    streams = [draw(0, 2, seed=seed, index=index) for seed in (0, 2**63, 2**64 - 1) for index in (0, 2**63, 2**63 + 1)]
    assert len({stream.numpy().tobytes() for stream in streams}) == 9


def test_bad_input():
    with pytest.raises(ValueError, match=r"float32 or torch\.float64, got inputs of torch\.float16"):
        draw(0, 1, dtype=torch.float16)
    with pytest.raises(ValueError, match="seed must be an integer of at least 0, got -1"):
        draw(0, 1, seed=-1)
    with pytest.raises(ValueError, match=r"index must be less than 2\*\*64, got 18446744073709551616"):
        draw(0, 1, index=2**64)


def test_draws_for_training_are_in_the_layout_of_the_images():
    noise, x = Gaussian(0.5), torch.zeros(400, 3, 4, 5)
    plain, last = noise.draw(x, 2), noise.draw(x.contiguous(memory_format=torch.channels_last), 2)
    assert plain.shape == last.shape == (800, 3, 4, 5)
    assert plain.is_contiguous() and last.is_contiguous(memory_format=torch.channels_last)
    assert not last.is_contiguous()
    for channel in range(3):
        assert float(last[:, channel].std()) == pytest.approx(0.5, rel=0.03)
    generator = torch.Generator()
    expected = 0.5 * torch.empty(800, 3, 4, 5).normal_(generator=generator.manual_seed(0))
    assert torch.equal(noise.draw(x, 2, generator.manual_seed(0)), expected)
