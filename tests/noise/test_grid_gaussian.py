"""Noise on the grid: its probabilities against arithmetic of many digits, its sums in rationals."""

from fractions import Fraction

import mpmath
import numpy as np
import pytest
import torch
from scipy import stats

from lightning_rs.noise import BLOCK, GridGaussian, Purpose, Stage
from lightning_rs.noise import grid_gaussian as module

CASES = [(0.25, 255), (1.0, 255), (0.25, 16), (0.25, 4), (0.02, 255), (0.1, 1)]
ESTIMATION = Stage.ESTIMATION


def bin_probability(k, scale, levels, digits=60):
    with mpmath.workdps(digits):
        width = mpmath.mpf(scale) * levels
        a, b = (k - mpmath.mpf(1) / 2) / width, (k + mpmath.mpf(1) / 2) / width
        # The smaller tails, of which the difference keeps its digits.
        return mpmath.ncdf(b) - mpmath.ncdf(a) if k <= 0 else mpmath.ncdf(-a) - mpmath.ncdf(-b)


def drawn(noise, count, shape=(1,), **key):
    source = noise.source(key.pop("seed", 0), shape, torch.float64, **key)
    return source.fill(torch.empty(count, *shape, dtype=torch.float64), 0, ESTIMATION, 0)


@pytest.mark.parametrize(("scale", "levels"), CASES)
def test_probabilities_of_all_bins(scale, levels):
    """From the thresholds every bin has its probability within 2**-63, and every tail within 2**-64."""
    reach = GridGaussian(scale, levels).reach
    bounds = [0, *map(int, module._thresholds(scale, levels))]
    bounds += [2**64] * (2 * reach + 2 - len(bounds))
    with mpmath.workdps(60):
        for k in range(-reach + 1, reach):
            given = mpmath.mpf(bounds[k + reach + 1] - bounds[k + reach]) / 2**64
            assert abs(given - bin_probability(k, scale, levels)) <= mpmath.mpf(2) ** -64
        for k in range(-reach, reach):
            exact = mpmath.ncdf((k + mpmath.mpf(1) / 2) / (mpmath.mpf(scale) * levels))
            assert 0 <= mpmath.mpf(bounds[k + reach + 1]) / 2**64 - exact < mpmath.mpf(2) ** -64


@pytest.mark.parametrize(("scale", "levels"), CASES)
def test_the_table_and_the_search_are_the_same_function_of_64_bits(scale, levels):
    """Both count the thresholds that the bits reach, at every threshold and beside it, and elsewhere."""
    bounds, reach = module._thresholds(scale, levels), GridGaussian(scale, levels).reach
    random = np.random.default_rng(0).integers(0, 2**64, 10_000, dtype=np.uint64)
    bits = np.unique(np.concatenate([bounds, bounds - np.uint64(1), random, np.array([0, 2**64 - 1], np.uint64)]))
    plain = np.array([sum(int(t) <= int(r) for t in bounds) for r in bits[::97]]) - reach
    by_table = module._table(scale, levels, np.int16)[bits >> np.uint64(48)]
    searched = np.searchsorted(bounds, bits, side="right") - reach
    assert np.array_equal(searched[::97], plain)
    decided = by_table != np.iinfo(np.int16).min
    assert np.array_equal(by_table[decided], searched[decided])
    # Where the table does not decide, a threshold lies among the numbers with these upper bits.
    assert np.isin(bits[~decided] >> np.uint64(48), bounds >> np.uint64(48)).all()


@pytest.mark.parametrize(("scale", "levels"), [(0.5, 255), (0.25, 16), (0.25, 4)])
@pytest.mark.parametrize("by", ["table", "search"])
def test_draws_have_their_distribution(scale, levels, by):
    """Chi-square over three million draws, bins of the tails together, as made on a CPU and elsewhere."""
    noise, count = GridGaussian(scale, levels), 3_000_000
    if by == "table":
        draws = drawn(noise, 300, (100, 100)).long()
    else:
        draws = torch.empty(count, dtype=torch.int32)
        noise.source(0, (1,))._draw_by_search(torch.Generator().manual_seed(0), draws)
    counts = np.bincount(draws.flatten().numpy() + noise.reach, minlength=2 * noise.reach + 1)
    p = [float(bin_probability(k, scale, levels, 30)) for k in range(-noise.reach, noise.reach + 1)]
    expected = count * np.array(p)
    inner = np.flatnonzero(expected > 50)
    low, high = inner[0], inner[-1]

    def together(values):
        return np.array([values[: low + 1].sum(), *values[low + 1 : high], values[high:].sum()])

    statistic = ((together(counts) - together(expected)) ** 2 / together(expected)).sum()
    assert 1e-4 < stats.chi2.sf(statistic, high - low) < 1 - 1e-4


class Words:
    """In the place of the random bits, words that are given."""

    def __init__(self, words):
        self.bit_generator = self
        self.words = list(words)

    def integers(self, low, high, count, dtype):
        assert (low, high, dtype) == (0, 2**64, np.uint64)
        return self.random_raw(count)

    def random_raw(self, count):
        taken, self.words = self.words[:count], self.words[count:]
        return np.array(taken, dtype=np.uint64)


@pytest.mark.parametrize(("scale", "levels"), [(0.25, 255), (0.25, 4)])
def test_draws_from_given_bits(scale, levels):
    """Sixty-four bits at a threshold, below it and above it: by the table with 48 lower bits, and by the search."""
    noise = GridGaussian(scale, levels)
    bounds = module._thresholds(scale, levels)
    bits = [int(t) + step for t in bounds[[len(bounds) // 5, len(bounds) // 2, -9]] for step in (-1, 0, 1)]
    # The table takes 16 bits of each; words of four of them come first, and for those it cannot decide 48 further bits.
    pixels = [b >> 48 for b in bits] + [0] * (-len(bits) % 4)
    words = [sum(p << (16 * i) for i, p in enumerate(pixels[k : k + 4])) for k in range(0, len(pixels), 4)]
    undecided = module._table(scale, levels, np.int16)[pixels] == np.iinfo(np.int16).min
    source = noise.source(0, (len(pixels),))
    reached = np.array([sum(int(t) <= b for t in bounds) for b in bits]) - noise.reach
    # Lower bits of the pixels that fill the last word do not matter.
    lower = [((b & (2**48 - 1)) << 16) | 0xFFFF for b in bits] + [0] * len(pixels)
    source.generator = lambda *_: Words(words + [low for low, open_ in zip(lower, undecided, strict=False) if open_])
    out = np.empty(len(pixels), dtype=np.int16)
    source._draw_by_table(0, ESTIMATION, 0, out)
    assert np.array_equal(out[: len(bits)], reached)
    signed = torch.tensor([b - 2**63 for b in bits])
    assert np.array_equal(source._search(signed).numpy(), reached)


def test_another_device_adds_and_decodes_alike():
    noise = GridGaussian(0.5, 255)
    source, x = noise.source(0, (256,)), torch.arange(256).float().div(255)
    rows = torch.randint(-noise.reach, noise.reach + 1, (50, 256)).to(source.draw_dtype)
    rows[0], rows[1] = -noise.reach, noise.reach
    here, there = torch.empty(50, 256), torch.empty(50, 256)
    source._decoder(x)(rows, here)
    source._decoder_on_device(x)(rows, there)
    assert torch.equal(here, there)


def test_mean_and_variance():
    draws = drawn(GridGaussian(0.25, 16), 300, (100, 100)) / 16
    variance = 0.25**2 + 1 / 12 / 16**2  # Sheppard's correction, exact here to many digits.
    assert abs(float(draws.mean())) < 4 * (variance / draws.numel()) ** 0.5
    assert abs(float(draws.var()) / variance - 1) < 4 * (2 / draws.numel()) ** 0.5


@pytest.mark.parametrize("levels", [1, 4, 16, 255])
def test_rounding_commutes_with_the_grid(levels):
    """Q(x + z) = x + Q(z) in rationals, for x on the grid and any z but ties."""

    def q(value):
        return Fraction(int((value * levels + Fraction(1, 2)) // 1), levels)

    rng = np.random.default_rng(levels)
    for x, z in zip(rng.integers(0, levels + 1, 2000).tolist(), rng.normal(0, 0.5, 2000).tolist(), strict=True):
        pixel, noise = Fraction(x, levels), Fraction(z)
        assert q(pixel + noise) == pixel + q(noise)


@pytest.mark.parametrize(("scale", "levels"), [(0.25, 4), (0.02, 255), (0.5, 255)])
def test_every_pixel_is_added_and_decoded(scale, levels):
    """All x in 0..L, under draws and under the largest that there are: out is float32(x + k) / float32(L)."""
    noise = GridGaussian(scale, levels)
    source = noise.source(0, (levels + 1,))
    x = torch.arange(levels + 1).float().div(levels)
    out, draws = torch.empty(250, levels + 1), torch.empty(250, levels + 1)
    source.perturb(out, x, 7, ESTIMATION, 30, draws)
    pixels = np.arange(levels + 1)
    assert np.array_equal(out.numpy(), np.float32(draws.long().numpy() + pixels) / np.float32(levels))
    extremes = torch.tensor([-noise.reach, -noise.reach + 1, noise.reach - 1, noise.reach])
    rows = extremes[:, None].expand(4, levels + 1).to(source.draw_dtype).contiguous()
    largest = torch.empty(4, levels + 1)
    source._decoder(x)(rows, largest)
    assert np.array_equal(largest.numpy(), np.float32(extremes[:, None].numpy() + pixels) / np.float32(levels))


@pytest.mark.parametrize(("scale", "levels"), CASES)
def test_what_lies_beyond_the_reach(scale, levels):
    """No sum is clipped, so that draws beyond K are counted as errors: less than 2**-64 of a pixel's draws."""
    with mpmath.workdps(30):
        edge = (GridGaussian(scale, levels).reach + mpmath.mpf(1) / 2) / (mpmath.mpf(scale) * levels)
        assert 2 * mpmath.ncdf(-edge) < mpmath.mpf(2) ** -64


def test_pixels_decode_to_what_totensor_gives():
    source = GridGaussian(0.25, 255).source(0, (256,))
    images = torch.arange(256, dtype=torch.uint8)
    x = images.float().div(255)  # What torchvision's ToTensor does with 8-bit images.
    out = torch.empty(1, 256)
    source._decoder(x)(torch.zeros(1, 256, dtype=source.draw_dtype), out)
    assert torch.equal(out[0], x)


def test_a_pixel_that_float32_rounded_is_the_multiple_beside_it():
    noise, x = GridGaussian(0.25, 4), torch.tensor([0.25, 0.75, 1.0])
    rounded = x - 2.0**-22
    noise.check_input(rounded)
    of_rounded, of_x = torch.empty(2, 50, 3)
    for out, image in ((of_rounded, rounded), (of_x, x)):
        noise.source(0, (3,)).perturb(out, image, 0, ESTIMATION, 0)
    assert torch.equal(of_rounded, of_x)
    with pytest.raises(ValueError, match=r"multiples of 1/4 in \[0, 1\]; pixel \(0,\) is 0.2499995"):
        noise.check_input(x - 2.0**-21)


def test_draws_are_a_function_of_their_address_alone():
    noise, shape = GridGaussian(0.5, 255), (3, 8, 8)
    whole = drawn(noise, 3 * BLOCK + 37, shape)
    source = noise.source(0, shape, torch.float64)
    for start, count in ((250, 87), (0, 1), (BLOCK - 1, 2), (1, 3 * BLOCK), (0, BLOCK)):
        part = source.fill(torch.empty(count, *shape, dtype=torch.float64), 0, ESTIMATION, start)
        assert torch.equal(part, whole[start : start + count])
    seen = [whole[:50]]
    for other in (
        drawn(noise, 50, shape, seed=1),
        drawn(noise, 50, shape, purpose=Purpose.VALIDATION),
        drawn(noise, 50, shape, purpose=Purpose.PREDICTION),
        source.fill(torch.empty(50, *shape, dtype=torch.float64), 1, ESTIMATION, 0),
        source.fill(torch.empty(50, *shape, dtype=torch.float64), 0, Stage.SELECTION, 0),
    ):
        assert all(abs(np.corrcoef(other.flatten(), a.flatten())[0, 1]) < 0.04 for a in seen)
        seen.append(other)


def test_blocks_larger_than_a_piece():
    """100 draws of 3 x 40 x 40 pixels do not fit one piece: the random bits go on in the next."""
    draws = drawn(GridGaussian(0.25, 255), BLOCK, (3, 40, 40))
    assert draws.numel() > 2 * module._PIECE
    flat = draws.flatten().numpy()
    assert len(np.unique(flat[: module._PIECE] - flat[module._PIECE : 2 * module._PIECE])) > 300
    assert abs(flat.std() / 255 - 0.25) < 0.003


def test_a_fixed_draw():
    """Records of before can be drawn again: these numbers never change."""
    first = drawn(GridGaussian(0.5, 255), 150, (4,), seed=3)
    assert first[[0, 149]].tolist() == [[-61, 188, 136, -21], [117, 16, 199, -33]]


@pytest.mark.parametrize(("scale", "levels"), [(0.25, 4), (0.5, 255), (0.02, 255)])
def test_conditional_means(scale, levels):
    """E[z | k] / sigma by quadrature in each bin; their mean over the bins is 0, their variance below 1."""
    noise = GridGaussian(scale, levels)
    source = noise.source(0, (1,))
    ks = torch.arange(-noise.reach, noise.reach + 1)
    u = source.standardised(ks.float()).numpy()
    assert u.dtype == np.float64
    with mpmath.workdps(30):
        width = mpmath.mpf(scale) * levels
        for k in (0, 1, 2, -1, noise.reach // 3, -noise.reach // 3):
            a, b = (k - mpmath.mpf(1) / 2) / width, (k + mpmath.mpf(1) / 2) / width
            exact = mpmath.quad(lambda t: t * mpmath.npdf(t), [a, b]) / mpmath.quad(mpmath.npdf, [a, b])
            assert abs(u[k + noise.reach] - exact) <= 1e-14 * max(1, abs(exact))
        tail = (noise.reach - mpmath.mpf(1) / 2) / width
        exact = mpmath.quad(lambda t: t * mpmath.npdf(t), [tail, mpmath.inf]) / mpmath.ncdf(-tail)
        assert abs(u[-1] - exact) <= 1e-13 * exact
    p = np.array([float(bin_probability(k, scale, levels, 30)) for k in ks.tolist()])
    assert np.array_equal(u, -u[::-1]) and abs(p @ u) < 1e-15
    # var(z) = var(E[z | k]) + E[var(z | k)].
    assert 0 < 1 - p @ u**2 < 1 / (12 * (scale * levels) ** 2) * 1.01


def test_16_bit_images_take_larger_integers():
    noise = GridGaussian(0.01, 65535)
    source = noise.source(0, (50,))
    assert source.draw_dtype is torch.int32
    x = torch.arange(50).double().div(65535).float()
    noise.check_input(x)
    out, draws = torch.empty(2000, 50), torch.empty(2000, 50)
    source.perturb(out, x, 0, ESTIMATION, 0, draws)
    assert np.array_equal(out.numpy(), np.float32(draws.long().numpy() + np.arange(50)) / np.float32(65535))
    assert abs(float(draws.double().std()) / 655.35 - 1) < 0.02


def test_the_error_of_random_bits():
    """ImageNet, n = 1e5, sigma 1: 4e-6 of alpha; CIFAR-10 at sigma .25: 2e-8."""
    assert GridGaussian(0.25, 255).sampling_error(100_100, (3, 32, 32)) == pytest.approx(2e-8, rel=0.03)
    assert GridGaussian(1.0, 255).sampling_error(100_100, (3, 224, 224)) == pytest.approx(3.8e-6, rel=0.02)


def test_training_draws_lie_on_the_grid():
    x = torch.zeros(2, 3, 4)
    draws = GridGaussian(0.5, 16).draw(x, copies=1000, generator=torch.Generator().manual_seed(0))
    assert draws.shape == (2000, 3, 4)
    assert torch.equal((draws * 16).round() / 16, draws)
    assert abs(float(draws.std()) - 0.5) < 0.01


def test_rounding_to_the_grid():
    noise = GridGaussian(0.5, 4)
    x = torch.tensor([0.0, 0.1, 0.13, 0.99, 1.0])
    assert noise.quantize(x).tolist() == [0.0, 0.0, 0.25, 1.0, 1.0]
    noise.check_input(noise.quantize(x))
    every = torch.arange(256).float().div(255)
    assert torch.equal(GridGaussian(0.5, 255).quantize(every), every)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GridGaussian(0.0, 255), "sigma must be positive and finite, got 0.0"),
        (lambda: GridGaussian(0.25, 0), "levels must be an integer of at least 1, got 0"),
        (lambda: GridGaussian(0.25, "x"), "levels must be an integer of at least 1, got .x."),
        (lambda: GridGaussian(0.25, 2**16), "levels must be less than 65536, those of 16-bit images, got 65536"),
        (lambda: GridGaussian(0.25, 2.5), "levels must be an integer of at least 1, got 2.5"),
        (
            lambda: GridGaussian(1e-4, 255),
            r"sigma = 0.0001 is rounded away on the grid of 1/255: it must be at least 0.00022",
        ),
        (
            lambda: GridGaussian(0.5, 4).check_input(torch.tensor([[0.25, 0.3]])),
            r"grid_gaussian noise needs inputs that are multiples of 1/4 in \[0, 1\]; pixel \(0, 1\) is 0.300000012$",
        ),
        (lambda: GridGaussian(0.5, 4).check_input(torch.tensor([1.25])), r"in \[0, 1\]; pixel \(0,\) is 1.25$"),
        (lambda: GridGaussian(0.5, 4).check_input(torch.tensor([torch.nan])), r"pixel \(0,\) is nan$"),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_sigma_just_above_the_least_still_moves_pixels():
    least = 0.5 / 9.0 / 255
    noise = GridGaussian(1.01 * least, 255)
    assert noise.reach == 1
    assert 2**64 - 10 < int(module._thresholds(1.01 * least, 255)[-1]) < 2**64  # Between k = 0 and 1.
