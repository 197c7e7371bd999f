"""Whether this device's noise has its distribution, and whether no two draws share any of it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import special, stats
from torch import Tensor, nn

from lightning_rs import SmoothedClassifier
from lightning_rs.audit.case import Case
from lightning_rs.audit.finding import Finding
from lightning_rs.audit.settings import AuditSettings
from lightning_rs.noise import Gaussian, GridGaussian, Noise, Purpose, Stage

_LEVEL = 1e-8
"""Probability with which one of the tests, of a dozen, finds what is not there."""

_LEAST = 400
"""Draws that a bin has to expect, for the chi-square distribution to hold so far out."""

_SHAPE = (1, 8, 8)
_NOISES = (GridGaussian(0.25, 16), GridGaussian(0.5, 255), Gaussian(0.25))


class Sides(nn.Module):
    """Class 0, 1 or 2 where the first pixel is below, at or above a value."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.register_buffer("value", torch.tensor(value, dtype=torch.float32))

    def forward(self, rows: Tensor) -> Tensor:
        pixel = rows.flatten(1)[:, 0]
        return torch.stack([pixel < self.value, pixel == self.value, pixel > self.value], dim=1).float()


def cases(settings: AuditSettings) -> list[Case]:
    """The draws themselves, and what the votes of a certification show of them."""
    tried = _NOISES[:1] if settings.quick else _NOISES
    return [
        *(Case(f"noise: distribution of {noise!r}", partial(_distribution, settings, noise)) for noise in _NOISES),
        *(Case(f"noise: independence of {noise!r}", partial(_independence, settings, noise)) for noise in tried),
        Case("noise: independence of votes", partial(_votes, settings)),
    ]


def _distribution(settings: AuditSettings, noise: Noise) -> Iterator[Finding]:
    """Chi-square of all draws against the exact probabilities of the grid, or of parts of the normal distribution.

    And of the means of every pixel, for what a sum over all of them would not show.
    """
    count = 10_000 if settings.quick else 100_000
    draws = _standardised(settings, noise, count, **_here(settings)).reshape(count, -1)
    edges = _edges(noise, draws.size)
    counts = np.histogram(draws, bins=[-np.inf, *edges, np.inf])[0]
    expected = draws.size * np.diff(special.ndtr(edges), prepend=0.0, append=1.0)
    scatter = ((counts - expected) ** 2 / expected).sum()
    of = f"{draws.size:,} draws in {len(counts)} bins"
    yield _judged(f"distribution, {noise!r}", scatter, len(counts) - 1, of)

    variance = 1.0 if noise.levels is None else 1.0 + 1.0 / (12.0 * (noise.levels * noise.scale) ** 2)
    scatter = (draws.sum(axis=0) ** 2).sum() / (len(draws) * variance)
    yield _judged(f"means of pixels, {noise!r}", scatter, draws.shape[1], f"{draws.shape[1]} pixels")


def _edges(noise: Noise, draws: int) -> NDArray[np.float64]:
    """Where to cut the real line, in units of the scale: into equal parts, and their tails into smaller ones.

    On the grid between integers: what is rounded to one of them lies at most 1/2 from it.
    """
    tail = np.geomspace(_LEAST / draws, 0.005, 10, endpoint=False)
    edges = special.ndtri(np.concatenate([tail, np.linspace(0.005, 0.995, 199), 1 - tail[::-1]]))
    if noise.levels is None:
        return edges
    width = noise.levels * noise.scale
    return np.unique(np.floor(edges * width) + 0.5) / width


def _independence(settings: AuditSettings, noise: Noise) -> Iterator[Finding]:
    """Correlation with the draws of one address, of themselves and of those of others, at every shift.

    Equal draws, also at other places of a block or with the other sign, correlate. By chance a correlation of N
    products is N(0, 1/N), and one of all of them is as large as the limit with probability `_LEVEL`.
    """
    count = 1500 if settings.quick else 20_000
    here = _here(settings)
    others = {
        "draws of one image": [here],
        "images": [here | {"index": index} for index in (1, 2, 16, 2**32, 2**63)],
        "stages": [here | {"stage": stage} for stage in Stage if stage is not Stage.ESTIMATION],
        "purposes": [here | {"purpose": purpose} for purpose in Purpose if purpose is not Purpose.TEST],
        "seeds": [here | {"seed": (settings.seed + step) % 2**64} for step in (1, 2**32)],
    }
    base = _standardised(settings, noise, count, **here)
    products = sum(map(len, others.values())) * 2 * base.size
    limit = float(stats.norm.isf(_LEVEL / products / 2) / np.sqrt(base.size))
    for kind, addresses in others.items():
        largest = 0.0
        for address in addresses:
            correlation = _correlations(base, _standardised(settings, noise, count, **address))
            if address == here:
                correlation[0] = 0.0
            largest = max(largest, float(np.abs(correlation).max()))
        yield Finding(
            "noise",
            f"{kind}, {noise!r}",
            f"correlations below {limit:.3f}",
            f"{largest:.3f} at most, at every shift",
            largest < limit,
            {"limit": limit, "largest": largest, "draws": int(base.size)},
        )


def _correlations(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of two sequences with variance 1, at every shift: sums over what overlaps, divided by their length."""
    size = 2 * len(one)
    product = np.fft.rfft(one, size).conj() * np.fft.rfft(other, size)
    return np.fft.irfft(product, size) / len(one)


def _votes(settings: AuditSettings) -> Iterator[Finding]:
    """Through sampling itself: votes of equal images scatter as independent draws do, and stages do not agree.

    The class is the sign of one pixel's noise. If images or blocks shared noise, counts would scatter less or more than
    multinomial ones around their mean, and with stages or purposes that shared it they would go together.
    """
    examples, draws = (200, 100) if settings.quick else (500, 2500)
    noise = GridGaussian(0.25, 16)
    smoothed = SmoothedClassifier(Sides(0.5).to(settings.device), 3, noise, seed=settings.seed, batch_size=5000)
    x = torch.full((examples, 1), 0.5, device=settings.device)

    statistics = smoothed.sample(x, np.arange(examples), n0=draws, n=draws)
    validation = smoothed.sample(x, np.arange(examples), n0=draws, n=draws, purpose=Purpose.VALIDATION)
    counts = {
        "estimation": statistics.counts,
        "selection": statistics.selection_counts,
        "validation": validation.counts,
        "validation's selection": validation.selection_counts,
    }
    above = []
    for name, table in counts.items():
        mean = table.mean(axis=0)
        scatter = ((table - mean) ** 2 / mean).sum()
        yield _judged(f"votes of {name}", scatter, 2 * (examples - 1), f"{examples:,} equal images")
        above.append((table[:, 2] - mean[2]) / np.sqrt(mean[2] * (1 - mean[2] / draws)))

    limit = float(stats.norm.isf(_LEVEL / 12) / np.sqrt(examples))
    together = np.abs(np.array(above) @ np.array(above).T / examples)[np.triu_indices(len(above), 1)]
    yield Finding(
        "noise",
        "votes of stages and purposes",
        f"correlations below {limit:.3f}",
        f"{together.max():.3f} at most",
        bool(together.max() < limit),
        {"limit": limit, "largest": float(together.max()), "images": examples},
    )


def _judged(subject: str, scatter: float, freedom: int, of: str) -> Finding:
    """Whether a sum of squares is neither too large nor too small for chi-square with these degrees of freedom."""
    pvalue = float(2 * min(stats.chi2.sf(scatter, freedom), stats.chi2.cdf(scatter, freedom)))
    expected, seen = f"chi-square with p > {_LEVEL:g}", f"p = {pvalue:.2g}, {of}"
    return Finding("noise", subject, expected, seen, pvalue > _LEVEL, {"pvalue": pvalue, "level": _LEVEL})


def _here(settings: AuditSettings) -> dict[str, Any]:
    """The address whose draws are looked at."""
    return {"seed": settings.seed, "purpose": Purpose.TEST, "index": 0, "stage": Stage.ESTIMATION}


def _standardised(
    settings: AuditSettings, noise: Noise, count: int, *, seed: int, purpose: Purpose, index: int, stage: Stage
) -> NDArray[np.float64]:
    """Draws of one address one after another, in units of the scale; those of the grid as they are."""
    source = noise.source(seed, _SHAPE, torch.float32, settings.device, purpose)
    out = torch.empty((count, *_SHAPE), dtype=source.draw_dtype, device=settings.device)
    draws = source.fill(out, index, stage, 0).cpu().numpy().astype(np.float64).ravel()
    return draws if noise.levels is None else draws / (noise.levels * noise.scale)
