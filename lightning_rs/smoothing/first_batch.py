"""What the answers to the first batch have to show: draws that are independent of each other, as every bound needs."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from lightning_rs.random_state import OwnRandomness

# Answers to the same row that are looked at, at least, and calls that they come from.
_ANSWERS, _CALLS = 64, 4
# Probability, at most, that a difference of distributions is told where there is none.
_LEVEL = 1e-6


def check_same_answers(classify: Callable[[Tensor], Tensor], rows: Tensor, logits: Tensor) -> None:
    """Ask again for half of the rows, beside other ones: the answers must be the same.

    They are not if dropout or another source of randomness is active, or if batch norm takes its statistics from the
    batch. Every bound, binomial or not, needs draws that are independent of each other.

    Raises:
        ValueError: they moved, by more than other kernels may round.
    """
    half = (len(rows) + 1) // 2
    other = rows.clone()
    other[half:] = rows[:1]
    moved = _moved(logits[:half], classify(other)[:half])
    if moved is not None:
        raise ValueError(
            f"the base classifier must answer to each row alone and always the same; asked again, beside other "
            f"rows, its scores of the same rows moved by up to {moved:.3g}: is dropout or batch norm in training mode, "
            f"or does it change its input in place? If it is random on purpose, for each row by itself: stochastic true"
        )


def check_independent_answers(
    classify: Callable[[Tensor], Tensor], rows: Tensor, logits: Tensor, randomness: OwnRandomness
) -> None:
    """Ask about one row many times: its answers must be random, each by itself, and the same in law beside other rows.

    Some of what is unsound cannot be seen: randomness that is shared only in a small part, or rarely.

    Args:
        classify: rows to their scores, each call with draws of its own from `randomness`.
        rows: a batch. The first of its rows whose answer is another when asked again is asked about: votes of a sure
            classifier may be random at few of them.
        logits: answers to it.
        randomness: what the classifier draws from, if it uses the global generators.

    Raises:
        ValueError: says what was found and what to do.
    """
    size, half = len(rows), (len(rows) + 1) // 2
    first, again = _discrete(torch.stack([logits, classify(rows.clone())]))
    moved = (first != again).any(dim=1)
    row = rows[moved.int().argmax()]
    same = row.expand_as(rows)
    calls = [classify(same.clone()) for _ in range(max(_CALLS, -(-_ANSWERS // size)))]
    answers = _discrete(torch.stack(calls))
    if not moved.any() and (answers == answers[0]).all():
        if (answers[0] == answers[0, 0]).all():
            raise ValueError(
                "stochastic is for base classifiers that answer at random, and this one does not: leave it out; or, as "
                "nn.Dropout does nothing in evaluation mode, call torch.nn.functional.dropout(x, p, training=True)"
            )
        raise ValueError(
            "the base classifier's randomness begins anew in every call, so that draws repeat each other: it must not "
            "seed its generators when it is called"
        )
    if _shared(answers) or any(
        _differ(one, torch.cat([*answers[:i], *answers[i + 1 :]])) for i, one in enumerate(answers)
    ):
        raise ValueError(
            "the base classifier's randomness is shared by rows of a batch, as one dropout mask for all of them is: "
            "equal rows agreed within calls and not between them. Each row must draw its own, or batch_size be 1"
        )
    mixed = rows.clone()
    mixed[:half] = row
    beside = torch.cat([classify(mixed.clone())[:half] for _ in calls])
    if _differ(_discrete(beside, calls), answers.flatten(0, 1)) or _moved_if_replayed(
        classify, same, mixed, half, randomness
    ):
        raise ValueError(
            "the base classifier's answer to a row depends on the rows beside it: batch norm must not be in training "
            "mode, and nothing else be computed over the batch"
        )


def _moved_if_replayed(
    classify: Callable[[Tensor], Tensor], rows: Tensor, mixed: Tensor, half: int, randomness: OwnRandomness
) -> bool:
    """Whether the first half's answers move with the rows beside them, when the draws are the same.

    False where a classifier with generators of its own does not draw the same again.
    """
    begin = randomness.state
    answers = []
    for batch in (rows, rows, mixed):
        randomness.state = begin
        answers.append(classify(batch.clone())[:half])
    return _moved(*answers[:2]) is None and _moved(answers[0], answers[2]) is not None


def _moved(before: Tensor, again: Tensor) -> float | None:
    """By how much scores (rows, classes) moved at most; None if not, up to rounding."""
    # Other kernels may round otherwise; in half precision that is seen. A class may be masked by a huge number.
    tolerance = _tolerance(before)
    before, again = before.double(), again.double()
    known = before.isfinite() & again.isfinite()
    scale = torch.where(known, before, 0.0).abs().amax(dim=0)
    difference = torch.where(known, (before - again).abs(), 0.0)
    same_others = known | (before == again) | (before.isnan() & again.isnan())
    if bool((difference > tolerance * scale + 1e-6).any()) or not bool(same_others.all()):
        return float(difference.max())
    return None


def _tolerance(scores: Tensor) -> float:
    return 1e-3 if scores.dtype in (torch.float32, torch.float64) else 5e-2


def _discrete(scores: Tensor, like: list[Tensor] | None = None) -> Tensor:
    """Scores (..., classes) in whole steps of what rounding may do to them, or to those that they are `like`."""
    measure = (torch.stack(like) if like else scores).double()
    scale = torch.where(measure.isfinite(), measure, 0.0).abs().flatten(0, -2).amax(dim=0)
    steps = (scores.double() / (_tolerance(scores) * scale + 1e-6)).round()
    return steps.nan_to_num(nan=1e30, posinf=2e30, neginf=-2e30)


def _shared(answers: Tensor) -> bool:
    """Whether every answer (calls, rows, classes) has an equal one in its own call, and none has one in another.

    Of independent answers of n rows in each of two calls alone, that happens with probability 2^n / C(2n, n) at most:
    each group of equal answers would have to lie within one call.
    """
    calls, rows = answers.shape[:2]
    _, group = answers.flatten(0, 1).unique(dim=0, return_inverse=True)
    table = torch.zeros((int(group.max()) + 1, calls), dtype=torch.int64, device=answers.device)
    call = torch.arange(calls, device=answers.device).repeat_interleave(rows)
    table.index_put_((group, call), torch.ones_like(group), accumulate=True)
    return bool((table.amax(dim=1) > 1).all()) and bool((table.amax(dim=1) == table.sum(dim=1)).all())


def _differ(one: Tensor, other: Tensor) -> bool:
    """Whether two samples (rows, classes) of scores have different distributions: Kolmogorov and Smirnov's test."""
    one, other = one.T.contiguous().sort(dim=1).values, other.T.contiguous().sort(dim=1).values
    places = torch.cat([one, other], dim=1)
    shares = [torch.searchsorted(sample, places, right=True) / sample.shape[1] for sample in (one, other)]
    p, q = one.shape[1], other.shape[1]
    # e exp(-2 t^2) bounds the tail: proved for equal sizes, computed for unequal ones up to 200 (Wei and Dudley 2012).
    threshold = math.sqrt(0.5 * math.log(math.e * len(one) / _LEVEL) * (p + q) / (p * q))
    return bool((shares[0] - shares[1]).abs().max() > threshold)
