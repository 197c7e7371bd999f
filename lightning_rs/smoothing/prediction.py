"""The smoothed classifier's answer, or none, from the votes of noisy copies."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from lightning_rs.bounds import sequential_log_wealth, top_class_p_value, top_two_p_value
from lightning_rs.checks import check_alpha, check_draws, check_known
from lightning_rs.mechanisms import ABSTAIN, betting_looks
from lightning_rs.noise import Purpose
from lightning_rs.smoothing.plan import Plan
from lightning_rs.smoothing.sample import Sample

SELECTION_DRAWS = 25


def prediction_plan(n: int, alpha: float, test: str, sequential: bool) -> Plan:
    """Draws that answer with: n, or at most n if `sequential`, which stops as soon as the answer is known.

    Raises:
        ValueError: n < 1, alpha outside (0, 1), or an unknown test.
    """
    n = check_draws("n", n, 1)
    check_alpha(alpha)
    check_known("test", test, ("top_two", "top_class"))
    if not sequential:
        return Plan((n,), purpose=Purpose.PREDICTION)
    looks = tuple(betting_looks(n).tolist())

    def finished(sample: Sample) -> bool:
        return _sequential(sample, alpha, test) is not None

    return Plan(looks, SELECTION_DRAWS, Purpose.PREDICTION, finished=finished)


def prediction(sample: Sample, alpha: float, test: str) -> int:
    """The class, or `ABSTAIN`, from a sample drawn by `prediction_plan` with the same arguments.

    From a fixed number of draws: `lightning_rs.bounds.top_two_p_value` or `top_class_p_value` of the leading class. A
    sequential sample has selection draws, which fix the class c to test before the others are seen: c is named if
    betting rejects that it has at most half of the draws that c and its strongest rival share (`top_two`; then every
    rival is rejected, so whichever class is truly ahead of c is) or of all (`top_class`).
    """
    if sample.selection_counts is not None:
        answer = _sequential(sample, alpha, test)
        return ABSTAIN if answer is None else answer
    top, runner_up = _top_and_rival(sample)
    if runner_up >= top:
        return ABSTAIN
    p_value = top_two_p_value(top, runner_up) if test == "top_two" else top_class_p_value(top, sample.counts.sum())
    return sample.selected if p_value <= alpha else ABSTAIN


def _sequential(sample: Sample, alpha: float, test: str) -> int | None:
    """The class, `ABSTAIN` if the class that was selected is found not to be ahead, or None: not known yet."""
    top, rival = _top_and_rival(sample)
    draws = top + rival if test == "top_two" else int(sample.counts.sum())
    ahead, behind = _rejected(top, draws, float(alpha))
    return sample.selected if ahead else ABSTAIN if behind else None


@lru_cache(maxsize=100_000)  # At the same looks, many images have the same votes.
def _rejected(top: int, draws: int, alpha: float) -> tuple[bool, bool]:
    """Whether `top` of the draws are too many for one half of them, and whether the others are."""
    ahead, behind = sequential_log_wealth([top, draws - top], draws, 0.5) >= math.log(1.0 / alpha)
    return bool(ahead), bool(behind)


def _top_and_rival(sample: Sample) -> tuple[int, int]:
    return int(sample.counts[sample.selected]), int(np.delete(sample.counts, sample.selected).max())
