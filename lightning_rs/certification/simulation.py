"""What further draws of an image will say, simulated from what the draws of a pilot said."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import replace
from enum import Enum

import numpy as np
from numpy.typing import NDArray
from scipy import special

from lightning_rs.bounds import (
    clopper_pearson_lower,
    clopper_pearson_upper,
    empirical_bernstein_lower,
    empirical_bernstein_upper,
    hoeffding_kl_lower,
    hoeffding_kl_upper,
)
from lightning_rs.smoothing.plan import Plan
from lightning_rs.smoothing.sample import Sample
from lightning_rs.statistics import MARGIN_THRESHOLDS

Floats = NDArray[np.float64]

PREDICTED = frozenset(
    {"counts", "selection_counts", "look_counts", "uniform", "input_shape"}
    | {"score_sum", "score_square_sum", "score_histogram", "margin_sum", "margin_histogram"}
)
"""Fields of `Statistics` that can be simulated. Gradients, and scores draw by draw, are not guessed."""

MISS = 0.01
"""Probability, at most, that an image's probabilities lie beyond those of `LOW`, or beyond those of `HIGH`."""


class Outlook(Enum):
    """How what the pilot leaves open is filled in.

    LIKELY draws it from the posterior distribution under Jeffreys' prior, LOW and HIGH put it at confidence limits: the
    label is as improbable, or as probable, as the pilot's draws allow at `MISS`.
    """

    LIKELY = "likely"
    LOW = "low"
    HIGH = "high"


class Simulation:
    """Simulated samples of one image.

    Args:
        seen: what the pilot's draws said.
        draws: how many there were.
        label: of the image.
        generator: of the simulation.
    """

    def __init__(self, seen: Sample, draws: int, label: int, generator: np.random.Generator) -> None:
        self.seen, self.draws, self.label, self.generator = seen, draws, label, generator

    def run(self, plan: Plan, outlook: Outlook, size: int) -> list[Sample]:
        """`size` samples by a plan, whose fields are all in `PREDICTED`; each stops where the plan says so."""
        generator, n = self.generator, plan.looks[-1]
        # One number tells where all that is uncertain about the image lies, from the worst to the best.
        standing = generator.random(size)
        probabilities = self.probabilities(outlook, standing)
        selections = generator.multinomial(plan.n0, probabilities)
        selected = selections.argmax(axis=1)
        gaps = np.diff([0, *plan.looks])
        share = np.clip(probabilities[np.arange(size), selected], 0.0, 1.0)
        successes = generator.binomial(gaps, share[:, None]).cumsum(axis=1)
        fields = self._fields(plan, outlook, standing, n, selected)
        samples = []
        for row in range(size):
            path = list(zip(successes[row].tolist(), plan.looks, strict=True))
            sample = replace(
                self.seen,
                clean_prediction=None,
                selection_counts=selections[row],
                selected=int(selected[row]),
                fields={name: values[row] for name, values in fields.items()},
                path=path,
            )
            stop = len(path)
            if plan.finished is not None:  # What is enough at a look is enough at every later one.
                looks = range(1, len(path))
                stop = 1 + bisect_left(looks, True, key=lambda look: plan.finished(replace(sample, path=path[:look])))
            top, total = path[stop - 1]
            rest = np.delete(probabilities[row], selected[row]) + 1e-300
            counts = np.insert(generator.multinomial(total - top, rest / rest.sum()), selected[row], top)
            samples.append(replace(sample, path=path[:stop], counts=counts))
        return samples

    def probabilities(self, outlook: Outlook, standing: Floats) -> Floats:
        """(S, K) probabilities of the votes.

        LIKELY: of the most voted class by Jeffreys' prior against the others, and of these among themselves by a
        Dirichlet prior of weight one in all. LOW and HIGH: the label and its strongest rival at limits in opposite
        directions, MISS / 2 each, the others in proportion to their votes.
        """
        votes = self.seen.counts.astype(np.float64)
        own = int(votes.argmax()) if outlook is Outlook.LIKELY else self.label
        others = np.delete(votes, own)
        rest = np.empty((len(standing), len(others)))
        share = self._share(outlook, votes[own], standing)
        if outlook is Outlook.LIKELY:
            weights = self.generator.standard_gamma(others + 1.0 / len(others), size=rest.shape) + 1e-300
            rest[:] = weights / weights.sum(axis=1, keepdims=True) * (1.0 - share)[:, None]
        else:
            rival = int(others.argmax())
            against = Outlook.HIGH if outlook is Outlook.LOW else Outlook.LOW
            most = np.minimum(self._share(against, others[rival], standing), 1.0 - share)
            weights = np.delete(others, rival)
            weights += (outlook is Outlook.HIGH) / max(1, len(weights))
            if weights.sum() <= 0.0:  # Nobody else has a vote: the rival has the rest.
                most, weights = 1.0 - share, np.ones(len(weights))
            rest[:, rival] = most
            spread = weights / max(weights.sum(), 1e-300)
            rest[:, np.arange(len(others)) != rival] = (1.0 - share - most)[:, None] * spread
        probabilities = np.insert(np.maximum(rest, 0.0), own, share, axis=1)
        return probabilities / probabilities.sum(axis=1, keepdims=True)

    def _share(self, outlook: Outlook, successes: NDArray | float, standing: Floats) -> Floats:
        """Of a proportion with so many successes, in the broadcast shape."""
        if outlook is Outlook.LIKELY:
            return special.betaincinv(successes + 0.5, self.draws - successes + 0.5, standing)
        bound = clopper_pearson_lower if outlook is Outlook.LOW else clopper_pearson_upper
        return bound(successes, self.draws, MISS / 2.0) + np.zeros_like(standing)

    def _fields(
        self, plan: Plan, outlook: Outlook, standing: Floats, n: int, selected: NDArray[np.int64]
    ) -> dict[str, NDArray]:
        """The fields beside the votes, a row for each sample. Those of another class than the pilot selected are not
        known: they say that nothing is certified."""
        seen, fields, known = self.seen.fields, {}, selected == self.seen.selected
        if "uniform" in plan.fields:
            fields["uniform"] = self.generator.random(len(standing))
        if "score_sum" in plan.fields or "score_square_sum" in plan.fields:
            fields |= self._score_sums(outlook, standing, n)
        for name in ("score_histogram", "margin_histogram"):
            if name in plan.fields:
                nothing = n * (np.arange(len(seen[name])) == 0)
                fields[name] = np.where(known[:, None], self._histogram(seen[name], outlook, standing, n), nothing)
        if "margin_sum" in plan.fields:
            unit = (seen["margin_sum"] / self.draws + 1.0) / 2.0
            edges = (np.concatenate([[-1.0], MARGIN_THRESHOLDS]) + 1.0) / 2.0
            square = float(seen["margin_histogram"] @ edges**2) / self.draws
            mean = self._mean(unit, max(square - unit**2, 0.0), outlook, standing, n)
            fields["margin_sum"] = n * (2.0 * np.where(known, mean, 0.0) - 1.0)
        return {name: values for name, values in fields.items() if name in plan.fields}

    def _score_sums(self, outlook: Outlook, standing: Floats, n: int) -> dict[str, NDArray]:
        """Sums of scores, and of their squares: the label's mean moves, the others share the rest as they did. The
        variance of each stays the same part of the largest that its mean allows."""
        means = self.seen.fields["score_sum"] / self.draws
        variances = np.maximum(self.seen.fields["score_square_sum"] / self.draws - means**2, 0.0)
        own = self._mean(means[self.label], variances[self.label], outlook, standing, n)
        others = np.delete(means, self.label)
        others = others / others.sum() if others.sum() > 0 else np.full(len(others), 1.0 / len(others))
        moved = np.insert(others * (1.0 - own[:, None]), self.label, own, axis=1)
        part = np.clip(variances / np.maximum(means * (1.0 - means), 1e-12), 0.0, 1.0)
        return {"score_sum": n * moved, "score_square_sum": n * (part * moved * (1.0 - moved) + moved**2)}

    def _mean(self, mean: float, variance: float, outlook: Outlook, standing: Floats, n: int) -> Floats:
        """Means of n further draws in [0, 1]: beta variables of the variances, which are those of binomial shares
        where draws are 0 or 1. To the pilot's draws half a draw of 0 and half a draw of 1 are added."""
        m, level = self.draws, MISS / 4.0
        centre = (m * mean + 0.5) / (m + 1.0)
        spread = (m * (variance + mean**2) + 0.5) / (m + 1.0) - centre**2
        weight = centre * (1.0 - centre) / max(spread, 1e-12)
        mean = min(max(float(mean), 0.0), 1.0)
        if outlook is Outlook.LIKELY:
            strength = (m + 1.0) * weight
            expected = special.betaincinv(centre * strength, (1.0 - centre) * strength, standing)
        elif outlook is Outlook.LOW:
            bounds = hoeffding_kl_lower(mean, m, level), self._bernstein(empirical_bernstein_lower, mean, variance, 0.0)
            expected = np.full(len(standing), max(map(float, bounds)))
        else:
            bounds = hoeffding_kl_upper(mean, m, level), self._bernstein(empirical_bernstein_upper, mean, variance, 1.0)
            expected = np.full(len(standing), min(map(float, bounds)))
        expected = np.clip(expected, 1e-12, 1.0 - 1e-12)
        return self.generator.beta(expected * n * weight, (1.0 - expected) * n * weight)

    def _bernstein(self, bound: Callable[..., Floats], mean: float, variance: float, trivial: float) -> float:
        """Empirical Bernstein's bound, of the unbiased variance; the trivial one of a single draw."""
        m = self.draws
        return trivial if m < 2 else float(bound(mean, max(variance, 0.0) * m / (m - 1), m, MISS / 4.0))

    def _histogram(self, seen: NDArray, outlook: Outlook, standing: Floats, n: int) -> NDArray[np.int64]:
        """Of n draws: the share that reaches each threshold is a proportion like that of votes."""
        reached, place = np.unique(np.cumsum(seen[::-1])[::-1][1:], return_inverse=True)
        survival = self._share(outlook, reached, standing[:, None])[:, place]
        edges = np.pad(np.minimum.accumulate(survival, axis=1), ((0, 0), (1, 1)), constant_values=((0, 0), (1, 0)))
        shares = np.maximum(-np.diff(edges, axis=1), 0.0)
        return self.generator.multinomial(n, shares / shares.sum(axis=1, keepdims=True))
