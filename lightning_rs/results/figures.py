"""The figures of a certification: what is printed, written and logged."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from lightning_rs.checks import alpha_share
from lightning_rs.mechanisms import ABSTAIN
from lightning_rs.metrics import average_certified_radius, certified_accuracy, population_limit, sample_limit
from lightning_rs.results.radius_text import radius_texts
from lightning_rs.results.runs import Run


@dataclass(frozen=True)
class Figures:
    """The figures of one run and mechanism; nan where they are not known.

    Attributes:
        run, mechanism: what they are of.
        norm: of the radii.
        sigma: standard deviation of the noise.
        guessed: whether that is a guess from the run's path.
        examples: number of images.
        certified: share of images that are right with a radius above each of the radii of interest, (R,).
        standing: number of images that are right with a radius of exactly each of the radii of interest, (R,): tables
            that count radii no smaller than r, rather than larger ones, count them too.
        limit: lower limits on that share in the population, see `population_limit`.
        sample_limit: lower limits on that share among these images, see `sample_limit`.
        acr: average certified radius, wrong and abstained examples as 0: kept for comparison with older work, as it is
            governed by the largest radii, which say more about sigma than about robustness.
        median: median certified radius, wrong and abstained examples as 0.
        abstained: share of images without a prediction.
        smoothed: accuracy of the smoothed classifier: share of images whose certified prediction is right.
        draws: noisy copies of an image on average, selection included, where images differ in them.
        clean, noisy: accuracy of the base classifier without and with noise.
        noise: its distribution, and whether images were rounded; empty where it is not known.
    """

    run: str
    mechanism: str
    norm: str
    sigma: float
    guessed: bool
    examples: int
    certified: tuple[float, ...]
    standing: tuple[int, ...]
    limit: tuple[float, ...]
    sample_limit: tuple[float, ...]
    acr: float
    median: float
    abstained: float
    smoothed: float
    draws: float
    clean: float
    noisy: float
    noise: str


@dataclass(frozen=True)
class Envelope:
    """What could be certified if sigma were chosen for each radius: not the figures of one classifier.

    Attributes:
        mechanism, norm: what it is of.
        sigmas: the standard deviations among which is chosen, and whether each is a guess.
        runs: how many have one of them.
        certified: the largest certified accuracy at each radius of interest, (R,).
    """

    mechanism: str
    norm: str
    sigmas: tuple[tuple[float, bool], ...]
    runs: int
    certified: tuple[float, ...]


def envelopes(rows: Sequence[Figures]) -> list[Envelope]:
    """The envelope of each mechanism and norm with several sigmas among these figures of the same radii."""
    found = []
    for kind in dict.fromkeys((row.mechanism, row.norm) for row in rows):
        own = [row for row in rows if (row.mechanism, row.norm) == kind and not math.isnan(row.sigma)]
        if len({row.sigma for row in own}) > 1:
            sigmas = sorted({(row.sigma, row.guessed) for row in own})
            largest = map(max, zip(*(row.certified for row in own), strict=True))
            found.append(Envelope(*kind, tuple(sigmas), len(own), tuple(largest)))
    return found


def figures(
    run: Run, radii: Sequence[float], mechanisms: Sequence[str] | None = None, confidence: float = 0.95
) -> list[Figures]:
    """The figures of each of the run's mechanisms, or of those named.

    Args:
        run: of B examples.
        radii: (R,) radii of interest in pixel units.
        mechanisms: those to show; all when left out.
        confidence: of the lower limits.
    """
    # Of sequential runs the easy images finish first: those of an unfinished one are no random sample.
    alpha, attempts = run.said("alpha"), run.said("attempts") or 1
    limited = alpha is not None and (run.finished or not run.sequential)
    found = []
    for mechanism, (prediction, radius) in run.certificates.items():
        if mechanisms and mechanism not in mechanisms:
            continue
        certified = certified_accuracy(prediction, radius, run.label, radii)
        limit = within = np.full(len(certified), math.nan)
        if limited:
            counts = np.rint(certified * len(run))
            # Of several attempts each has its share of what may be wrong, so that a chosen one's limits hold too.
            shares = alpha_share(alpha, attempts), 1.0 - alpha_share(1.0 - confidence, attempts)
            limit = population_limit(counts, len(run), *shares)
            within = sample_limit(counts, len(run), *shares)
        found.append(
            Figures(
                run=run.name,
                mechanism=mechanism,
                norm=run.norm(mechanism),
                sigma=math.nan if run.sigma is None else run.sigma,
                guessed=run.guessed,
                examples=len(run),
                certified=tuple(certified.tolist()),
                standing=tuple(int(np.sum((prediction == run.label) & (radius == r))) for r in radii),
                limit=tuple(limit.tolist()),
                sample_limit=tuple(within.tolist()),
                acr=average_certified_radius(prediction, radius, run.label),
                median=float(np.median(run.certified_radius(mechanism))),
                abstained=float(np.mean(prediction == ABSTAIN)),
                smoothed=float(np.mean(prediction == run.label)),
                draws=float(np.mean(run.votes)) + run.said("n0") if run.sequential else math.nan,
                clean=clean_accuracy(run),
                noisy=noisy_accuracy(run),
                noise=_noise(run),
            )
        )
    return found


def _noise(run: Run) -> str:
    about = run.description
    return "" if about is None else about.noise + (" (images rounded)" if about.quantized else "")


def clean_accuracy(run: Run) -> float:
    """Share of examples that the base classifier gets right without noise; nan where it is not known."""
    return float(np.mean(run.clean)) if run.clean is not None and len(run) else math.nan


def noisy_accuracy(run: Run) -> float:
    """Share of noisy copies that the base classifier gets right, as a mean over the examples; nan where not known."""
    return math.fsum(run.noisy) / len(run) if run.noisy is not None and len(run) else math.nan


def logged(run: Run, radii: Sequence[float], prefix: str) -> dict[str, float]:
    """The figures by the names under which they are logged, e.g. `certify/cohen/accuracy@0.25`."""
    named = {f"{prefix}/clean_accuracy": clean_accuracy(run), f"{prefix}/noisy_accuracy": noisy_accuracy(run)}
    for found in figures(run, radii):
        values = (*found.certified, found.acr, found.abstained, found.smoothed)
        named |= zip(_names(prefix, found.mechanism, radii), values, strict=True)
    return named


def logged_names(mechanisms: Iterable[str], radii: Sequence[float], prefix: str = "certify") -> list[str]:
    """The names of what `logged` gives, and of the time that it took."""
    names = [f"{prefix}/{what}" for what in ("clean_accuracy", "noisy_accuracy", "seconds")]
    return [*names, *(name for mechanism in mechanisms for name in _names(prefix, mechanism, radii))]


def _names(prefix: str, mechanism: str, radii: Sequence[float]) -> list[str]:
    shares = (f"accuracy@{text}" for text in radius_texts(radii))
    return [f"{prefix}/{mechanism}/{what}" for what in (*shares, "acr", "abstention_rate", "smoothed_accuracy")]


def default_radii(sigma: float) -> tuple[float, ...]:
    """Radii worth a column at this noise: 0, sigma, 2 sigma, 3 sigma. With 100,000 draws 3.81 sigma is the most."""
    return tuple(float(f"{sigma * k:.10g}") for k in range(4))
