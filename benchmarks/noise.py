"""Noise on the grid of the images beside Gaussian noise in floating point.

python benchmarks/noise.py speed                                    pixels a second, and draws a second with a net
python benchmarks/noise.py distribution                             chi-square over 1e9 draws
python benchmarks/noise.py accuracy --checkpoint '[FILE, ...]'      certified accuracy under both, every mechanism
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise

import numpy as np
import torch
from jsonargparse import auto_cli
from mpmath import mp
from rich.progress import track
from rich.table import Table
from scipy import stats
from torch import Tensor

from lightning_rs.bounds import clopper_pearson_lower, clopper_pearson_upper
from lightning_rs.certification import Certification, CertificationSettings, certify_examples
from lightning_rs.checkpoints import data_of, load_checkpoint
from lightning_rs.cli import plug_in
from lightning_rs.metrics import average_certified_radius, certified_accuracy
from lightning_rs.models import build_base_classifier
from lightning_rs.noise import Gaussian, GridGaussian, Noise, Stage
from lightning_rs.results.radius_text import accuracy_headers
from lightning_rs.results.records import certificates_of
from lightning_rs.results.report import console_for
from lightning_rs.smoothing.memory import keep_freed_memory
from lightning_rs.smoothing.plan import Plan
from lightning_rs.smoothing.sampler import Sampler, evaluating

IMAGES = {"digits_cnn": (1, 8, 16), "cifar_resnet20": (3, 32, 255)}  # channels, size, levels
MECHANISMS = (
    "cohen", "cohen_two_sided", "delattre", "voracek", "li", "lecuyer", "cullen", "ensemble", "moutaouakil", "salman",
    "lipschitz", "lecuyer_soft", "cullen_soft", "moutaouakil_soft", "kumar_score:confidence=0.5",
    "kumar_margin:confidence=0.0", "mohapatra_l2", "mohapatra_l1", "mohapatra_linf", "mohapatra_channel",
)  # fmt: skip


def speed(sigmas: list[float] = [0.25, 0.5, 1.0], repeats: int = 9, n: int = 0) -> None:  # noqa: B006
    """Million pixels a second of noisy copies, on one thread and on two, and draws a second of nets under both noises.

    Args:
        sigmas: standard deviations.
        repeats: measurements, interleaved, of which the fastest counts.
        n: draws of each net; chosen to suit it when left out.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    where = torch.cuda.get_device_name() if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    print(f"{where}, torch {torch.__version__}, NumPy {np.__version__}, Python {platform.python_version()}")
    with keep_freed_memory(device):
        _pixels(sigmas, repeats, device)
        _draws(n, repeats, device)


def _pixels(sigmas: list[float], repeats: int, device: torch.device) -> None:
    table = Table(title="million pixels a second: noise drawn, added and decoded")
    for column in ("images", "sigma", "threads", "gaussian", "grid_gaussian", "ratio"):
        table.add_column(column, justify="right")
    for channels, size, levels in IMAGES.values():
        x = _image(channels, size, levels, device)
        for sigma in sigmas:
            for threads in (1, 2) if device.type == "cpu" else (1,):
                noises = (Gaussian(sigma), GridGaussian(sigma, levels))
                pixels = _fastest([_filling(noise, x, threads) for noise in noises], repeats, device)
                cells = (f"{channels}x{size}x{size}", f"{sigma:g}", f"{threads}", *(f"{p / 1e6:.0f}" for p in pixels))
                table.add_row(*cells, f"{pixels[1] / pixels[0]:.2f}")
    console_for(table).print(table)


def _draws(n: int, repeats: int, device: torch.device) -> None:
    table = Table(title="draws a second with a net, float32")
    for column in ("net", "threads", "batch", "gaussian", "grid_gaussian", "ratio"):
        table.add_column(column, justify="right")
    for name, (channels, size, levels) in IMAGES.items():
        x = _image(channels, size, levels, device)
        torch.manual_seed(0)
        shape = [channels, size, size]
        net = build_base_classifier(name, 10, shape, [0.5] * channels, [0.25] * channels).to(device).eval()
        draws = n or (1000 if name == "cifar_resnet20" else 20_000) * (100 if device.type == "cuda" else 1)
        for threads in sorted({1, torch.get_num_threads()}):
            torch.set_num_threads(threads)
            for batch in (100, 1000):
                noises = (Gaussian(0.25), GridGaussian(0.25, levels))
                rates = _fastest([_sampling(net, noise, x, draws, batch) for noise in noises], repeats, device)
                cells = (name, f"{threads}", f"{batch}", *(f"{rate:,.0f}" for rate in rates))
                table.add_row(*cells, f"{rates[1] / rates[0]:.3f}")
    console_for(table).print(table)


def _image(channels: int, size: int, levels: int, device: torch.device) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, levels + 1, (channels, size, size), generator=generator).float().div(levels).to(device)


def _filling(noise: Noise, x: Tensor, threads: int) -> Callable[[], int]:
    rows = max(200, 2**21 // x.numel())
    sources = [noise.source(seed, tuple(x.shape), device=x.device) for seed in range(threads)]
    outs = [torch.empty(rows, *x.shape, device=x.device) for _ in sources]
    pool = ThreadPoolExecutor(threads)
    calls = iter(range(2**62))

    def fill(number: int, index: int) -> None:
        sources[number].perturb(outs[number], x, index, Stage.ESTIMATION, 0)

    def run() -> int:
        index = next(calls)
        list(pool.map(lambda number: fill(number, index), range(threads)))
        return threads * outs[0].numel()

    return run


def _sampling(net: torch.nn.Module, noise: Noise, x: Tensor, draws: int, batch: int) -> Callable[[], int]:
    def run() -> int:
        sampler = Sampler(net, 10, noise, batch, 0, x.device)
        with evaluating(net):
            return sum(int(sample.counts.sum()) for sample in sampler.run([(0, x)], Plan((draws,))))

    return run


def _fastest(runs: list[Callable[[], int]], repeats: int, device: torch.device) -> list[float]:
    """What each makes a second, at best; in turn, so that all meet the same machine."""
    best = [0.0] * len(runs)
    for _ in range(repeats):
        for i, run in enumerate(runs):
            start = time.perf_counter()
            made = run()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            best[i] = max(best[i], made / (time.perf_counter() - start))
    return best


def distribution(count: int = 10**9, sigmas: list[float] = [0.25, 0.5, 1.0], levels: int = 255) -> None:  # noqa: B006
    """Chi-square of so many draws against the probabilities of all bins in 30-digit arithmetic.

    Args:
        count: draws of each sigma.
        sigmas: standard deviations.
        levels: of the grid.
    """
    shape = (3, 32, 32)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    for sigma in sigmas:
        noise = GridGaussian(sigma, levels)
        source = noise.source(0, shape, device=device)
        draws = torch.empty(1000, *shape, device=device)
        counts = np.zeros(2 * noise.reach + 1, dtype=np.int64)
        for index in track(range(-(-count // draws.numel())), f"sigma = {sigma:g}"):
            source.fill(draws, index, Stage.ESTIMATION, 0)
            counts += torch.bincount(draws.flatten().long() + noise.reach, minlength=len(counts)).cpu().numpy()
        with mp.workdps(30):
            edges = [(k + mp.mpf(0.5)) / (mp.mpf(sigma) * levels) for k in range(-noise.reach - 1, 1)]
            lower = [float(b - a) for a, b in pairwise([mp.ncdf(edge) for edge in edges])]
        p = np.array([*lower, *lower[-2::-1]])
        expected = counts.sum() * p
        inner = np.flatnonzero(expected >= 20)
        low, high = inner[0], inner[-1]
        seen, wanted = (np.array([v[: low + 1].sum(), *v[low + 1 : high], v[high:].sum()]) for v in (counts, expected))
        statistic = float(((seen - wanted) ** 2 / wanted).sum())
        print(
            f"sigma = {sigma:g}, {counts.sum():,} draws, {len(seen)} bins: chi-square {statistic:.1f}, "
            f"p-value {stats.chi2.sf(statistic, len(seen) - 1):.3f}"
        )


def accuracy(
    checkpoint: list[str],
    n: int = 10_000,
    alpha: float = 0.001,
    limit: int | None = None,
    batch_size: int = 200,
    seed: int = 0,
    data_dir: str | None = None,
    plugins: list[str] | None = None,
) -> None:
    """Certified accuracy in % of every mechanism under both noises, with 95 % limits over the images.

    Args:
        checkpoint: checkpoints of train.py.
        n: draws an image.
        alpha: failure probability of a certificate.
        limit: certify at most so many images.
        batch_size: rows of a call.
        seed: of both noises.
        data_dir: of the data sets; that of the training when left out.
        plugins: own modules that checkpoints name.
    """
    plug_in(plugins)
    for path in checkpoint:
        loaded = load_checkpoint(path)
        data = data_of(loaded, **({} if data_dir is None else {"data_dir": data_dir}))
        dataset = data.dataset("test")
        indices = range(min(len(dataset), limit or len(dataset)))
        settings = CertificationSettings(n=n, alpha=alpha, mechanisms=MECHANISMS, batch_size=batch_size, seed=seed)
        what = Certification(
            loaded.base_classifier, loaded.architecture, loaded.num_classes, Gaussian(loaded.sigma), dataset, data.name,
            "test", settings,
        )  # fmt: skip
        found = {}
        for noise in (what.noise, GridGaussian(loaded.sigma, data.facts.levels)):
            records = certify_examples(replace(what, noise=noise), indices)
            found[noise.name] = list(track(records, f"{path}, {noise.name}", total=len(indices)))
        radii = settings.radii_for(loaded.sigma)
        table = Table(title=f"{path}: sigma = {loaded.sigma:g}, {len(indices)} images, n = {n:,}, alpha = {alpha:g}")
        for column in ("mechanism", "noise", *accuracy_headers(radii), "ACR", "within the limits"):
            table.add_column(column, justify="left" if column in ("mechanism", "noise") else "right", no_wrap=True)
        for label in settings.mechanism_set:
            certificates = [certificates_of(records, label) for records in found.values()]
            shares = [certified_accuracy(*c, radii) for c in certificates]
            for name, c, own, other in zip(found, certificates, shares, shares[::-1], strict=True):
                right = np.round(np.asarray(other) * len(indices))
                low, high = (f(right, len(indices), 0.025) for f in (clopper_pearson_lower, clopper_pearson_upper))
                inside = np.all((np.asarray(own) >= low) & (np.asarray(own) <= high))
                cells = (f"{100 * share:.1f}" for share in own)
                table.add_row(label, name, *cells, f"{average_certified_radius(*c):.4f}", "yes" if inside else "no")
        console_for(table).print(table)


if __name__ == "__main__":
    auto_cli([speed, distribution, accuracy], as_positional=False)
