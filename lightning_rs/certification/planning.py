"""What a certification will find, draw and take, predicted from a pilot; and the draws that a budget of time allows."""

from __future__ import annotations

import dataclasses
import heapq
import math
import time
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import special

from lightning_rs.certification.pilot import Pilot
from lightning_rs.certification.settings import CertificationSettings
from lightning_rs.certification.simulation import MISS, PREDICTED, Outlook, Simulation
from lightning_rs.mechanisms import MechanismSet
from lightning_rs.metrics import subsample_limits
from lightning_rs.smoothing.plan import Plan
from lightning_rs.smoothing.sample import Sample
from lightning_rs.statistics import Statistics

# Simulated samples of each image of the pilot, and of how many images the mechanisms are timed.
_SIZE, _TIMED = 16, 8

_MOST_DRAWS = 2**31 - 1

# Of durations: name, seconds, and how many of them are still said in it.
_UNITS = (("s", 1.0, 90.0), ("min", 60.0, 90.0), ("h", 3600.0, 72.0), ("d", 86400.0, math.inf))


@dataclass(frozen=True)
class Predicted:
    """A number, and limits between which it is expected to lie."""

    value: float
    low: float
    high: float


class Forecast:
    """What one certification will be like.

    Attributes:
        settings: how images will be certified.
        radii: of the table.
        confidence: of the limits.
        left_out: labels of the mechanisms that read what few draws do not predict, with the fields.

    Args:
        pilot: see `run_pilot`.
        settings: those of the pilot, or others that need no other fields.
        confidence: see there.
    """

    def __init__(self, pilot: Pilot, settings: CertificationSettings, confidence: float = 0.95) -> None:
        certification = pilot.certification
        self.pilot, self.settings, self.confidence = pilot, settings, confidence
        self.radii = settings.radii_for(certification.noise.scale)
        self.images = len(certification.indices)
        self._noise = certification.noise
        plan = settings.plan(self._noise, pilot.samples[0].shape)
        unknown = {label: sorted(m.requires - PREDICTED) for label, m in settings.mechanism_set.items()}
        self.left_out = {label: fields for label, fields in unknown.items() if fields}
        self._known = [m for label, m in settings.mechanism_set.items() if not unknown[label]]
        self._plan: Plan = dataclasses.replace(plan, fields=plan.fields & PREDICTED)

    @cached_property
    def certified(self) -> dict[str, list[Predicted]]:
        """Label to the certified accuracy at each radius.

        The likely value is the mean over the images of the pilot and simulated samples. The limits take the samples of
        LOW and HIGH. The share of images with a certificate is at least (l - MISS) / (1 - MISS) and at most
        h / (1 - MISS), l and h the shares that LOW and HIGH predict, whatever the images' true probabilities: each lies
        within its limits but for MISS. On how many that is of all images `subsample_limits` hold, at counts that are
        rounded outward after what chance leaves open at the images that may be certified or not.
        """
        if not self._known:
            return {}
        shares = {outlook: self._certified(outlook) for outlook in Outlook}
        found = {}
        for label, likely in shares[Outlook.LIKELY].items():
            low, high = shares[Outlook.LOW][label], shares[Outlook.HIGH][label]
            found[label] = [
                Predicted(float(value), self._limit(down, least=True), self._limit(up, least=False))
                for value, down, up in zip(likely.mean(axis=0), low.T, high.T, strict=True)
            ]
        return found

    @cached_property
    def draws(self) -> Predicted:
        """Mean number of draws an image, those that select the class included."""
        draws = self._drawn.mean(axis=1)
        if not self.settings.mechanism_set.sequential:
            return Predicted(float(draws[0]), float(draws[0]), float(draws[0]))
        looked_at = len(draws)
        between = draws.var(ddof=1) * (1.0 - looked_at / self.images) if looked_at > 1 else 0.0
        within = self._drawn.var(axis=1).mean()
        error = self._quantile * math.sqrt((between + within) / looked_at)
        least, mean = self.settings.n0 + self._plan.looks[0], float(draws.mean())
        return Predicted(mean, max(least, mean - error), min(self.settings.n0 + self._plan.looks[-1], mean + error))

    @cached_property
    def seconds(self) -> NDArray[np.float64]:
        """(images,) seconds that each image takes on the pilot's device: those of the pilot's images, repeated."""
        rows = self._drawn + int(self._plan.clean)
        seconds = rows / self.pilot.rows_per_second + self.pilot.reading + self._overhead
        return np.resize(seconds.T, self.images)  # One simulated sample of each image, then the next of each.

    def makespan(self, devices: int) -> float:
        """Seconds until all images are certified on so many devices like the pilot's.

        Each takes the next image when it is free: so it is never less than the longest image, nor than all divided by
        the number of devices.
        """
        free = [0.0] * devices
        for seconds in self.seconds.tolist():
            heapq.heapreplace(free, free[0] + seconds)
        return max(free)

    @cached_property
    def _likely(self) -> list[list[Sample]]:
        return self._simulated(Outlook.LIKELY)

    @cached_property
    def _drawn(self) -> NDArray[np.int64]:
        """(images of the pilot, samples) draws."""
        return np.array([[sample.path[-1][1] + self.settings.n0 for sample in row] for row in self._likely])

    @cached_property
    def _overhead(self) -> float:
        """Seconds an image that no row takes: to look whether it is finished, and to certify it."""
        chosen = [row[0] for row in self._likely[:_TIMED]]
        unknown = MechanismSet([self.settings.mechanism_set[label] for label in self.left_out]) if self.left_out else {}
        start = time.perf_counter()
        for sample, seen in zip(chosen, self.pilot.samples, strict=False):
            if self._plan.finished is not None:
                for look in range(1, len(sample.path) + 1):
                    self._plan.finished(dataclasses.replace(sample, path=sample.path[:look]))
            if self._known:
                self._certify([sample])
            if unknown:
                unknown.certify(seen.statistics(self._noise, self.pilot.plan), self.settings.spent_alpha)
        return (time.perf_counter() - start) / len(chosen)

    def _simulated(self, outlook: Outlook) -> list[list[Sample]]:
        """Samples of each image of the pilot."""
        generator = np.random.default_rng(self.pilot.certification.seed)
        return [
            Simulation(sample, self.pilot.plan.looks[-1], label, generator).run(self._plan, outlook, _SIZE)
            for sample, label in zip(self.pilot.samples, self.pilot.labels, strict=True)
        ]

    def _certify(self, samples: Sequence[Sample]) -> dict[str, tuple[NDArray[np.int64], NDArray[np.float64]]]:
        """Label to predictions and radii, by the road of every certification."""
        statistics = Statistics.concatenate([sample.statistics(self._noise, self._plan) for sample in samples])
        certificates = MechanismSet(self._known).certify(statistics, self.settings.spent_alpha)
        return {label: (one.prediction, one.radius) for label, one in certificates.items()}

    def _certified(self, outlook: Outlook) -> dict[str, NDArray[np.float64]]:
        """Label to (images of the pilot, radii), the share of simulated samples that certify the label there."""
        rows = self._likely if outlook is Outlook.LIKELY else self._simulated(outlook)
        labels = np.repeat(self.pilot.labels, _SIZE)
        found = self._certify([sample for row in rows for sample in row])
        right = {
            label: (prediction == labels)[:, None] & (radius[:, None] > np.asarray(self.radii))
            for label, (prediction, radius) in found.items()
        }
        return {label: hits.reshape(len(rows), _SIZE, -1).mean(axis=1) for label, hits in right.items()}

    def _limit(self, shares: NDArray[np.float64], least: bool) -> float:
        """The lower or the upper limit from the images' shares (images of the pilot,)."""
        looked_at = len(shares)
        # How many of these will be certified varies in the certification, and in what was simulated.
        chance = self._quantile * math.sqrt(
            float(np.sum(shares * (1.0 - shares))) * (looked_at / self.images + 1.0 / _SIZE)
        )
        total = float(shares.sum())
        count = math.floor(total - chance + 1e-9) if least else math.ceil(total + chance - 1e-9)
        count = min(max(count, 0), looked_at)
        limits = subsample_limits(count, count, looked_at, self.images, self.confidence)
        share = limits[0 if least else 1] / self.images
        return max(0.0, (share - MISS) / (1.0 - MISS)) if least else min(1.0, share / (1.0 - MISS))

    @property
    def _quantile(self) -> float:
        return float(special.ndtri((1.0 + self.confidence) / 2.0))


def least_draws(pilot: Pilot, settings: CertificationSettings) -> int:
    """The smallest n with which every mechanism can certify anything at this alpha, and a sequential one a radius."""
    noise, shape = pilot.certification.noise, pilot.samples[0].shape

    def suffices(n: int) -> bool:
        try:
            dataclasses.replace(settings, n=n).plan(noise, shape)
        except ValueError:
            return False
        return True

    doubled = [2**power for power in range(31)]
    enough = next((n for n in doubled if suffices(n)), None)
    if enough is None:
        settings.plan(noise, shape)  # Says why no number of draws does.
    candidates = range(enough // 2 + 1, enough + 1)
    return candidates[bisect_left(candidates, True, key=suffices)]


def fit_draws(
    pilot: Pilot, settings: CertificationSettings, seconds: float, devices: int = 1, confidence: float = 0.95
) -> Forecast:
    """The forecast with the largest n of two digits and zeros that takes at most so many seconds; with the least n that
    certifies anything, where only that does.

    With sequential mechanisms n is the most that may be drawn.

    Args:
        pilot: see `run_pilot`.
        settings: whose n is replaced.
        seconds: the budget.
        devices: number of devices like the pilot's.
        confidence: of the limits.

    Raises:
        ValueError: nothing is certified with so few draws; says the least number, and how long that takes.
    """
    least = least_draws(pilot, settings)

    @cache  # A forecast measures what the mechanisms take: measured again, the one that fits might no more.
    def forecast(n: int) -> Forecast:
        return Forecast(pilot, dataclasses.replace(settings, n=n), confidence)

    def takes(n: int) -> float:
        try:
            return forecast(n).makespan(devices)
        except ValueError:  # So many draws leave nothing of alpha to certify with, under noise that is not exact.
            return math.inf

    shortest = forecast(least).makespan(devices)
    if shortest > seconds:
        labels = ", ".join(settings.mechanism_set)
        raise ValueError(
            f"a budget of {duration(seconds)} is too small for any certificate: at alpha = {settings.spent_alpha:g} "
            f"{labels} needs n = {least:,} at least, which takes {duration(shortest)} here"
        )
    round_numbers = [d * 10**k for k in range(9) for d in range(10, 100) if least < d * 10**k <= _MOST_DRAWS]
    candidates = [least, *round_numbers]
    place = bisect_right(candidates, seconds, key=takes)
    return forecast(candidates[max(0, place - 1)])


def duration(seconds: float) -> str:
    """A short text, such as 42 s, 12 min, 3.4 h or 2.5 d; rounded up, as what is planned for has to suffice."""
    unit, size = next((unit, size) for unit, size, most in _UNITS if seconds < most * size)
    value = seconds / size
    digits = 0 if value >= 10 else 1 if value >= 1 else 2
    return f"{math.ceil(value * 10**digits - 1e-9) / 10**digits:.{digits}f} {unit}"
