"""Tests of "is this class the most likely one?", from the votes of n independent draws."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special


def top_class_p_value(top: ArrayLike, trials: ArrayLike) -> NDArray[np.float64]:
    """p-value of the hypothesis that the class with the most votes has probability at most 1/2.

    P(Bin(trials, 1/2) >= top). Below alpha, the class is the smoothed classifier's answer with probability of error
    at most alpha: two classes cannot both exceed 1/2.

    Args:
        top: votes of the class with the most votes, integers in [0, trials].
        trials: number of draws, integers >= 0.

    Returns:
        The p-value, float64, in the broadcast shape of the arguments; 1 without votes.

    Raises:
        ValueError: an argument is out of its range.

    Source: the one-sided binomial test, as used by J. Cohen, E. Rosenfeld and J. Z. Kolter, "Certified Adversarial
    Robustness via Randomized Smoothing", 2019, Section 3.2.1.
    """
    x, n = np.broadcast_arrays(np.asarray(top, dtype=np.float64), np.asarray(trials, dtype=np.float64))
    if not np.all((x >= 0) & (x <= n) & (x == np.floor(x)) & (n == np.floor(n))):
        raise ValueError(f"top must be integers in [0, trials], got {top} of {trials}")
    inner = np.maximum(x, 1.0)
    return np.where(x <= 0, 1.0, special.betainc(inner, np.maximum(n - inner + 1.0, 1.0), 0.5))[()]


def top_two_p_value(top: ArrayLike, runner_up: ArrayLike) -> NDArray[np.float64]:
    """p-value of the hypothesis that the two classes with the most votes are equally likely.

    min(1, 2 P(Bin(top + runner_up, 1/2) >= top)): a two-sided test on the votes of the two leading classes. Rejecting
    at alpha names the most likely class with probability of error at most alpha, whatever the number of classes.

    Args:
        top: votes of the class with the most votes, integers >= runner_up.
        runner_up: votes of the second class, integers >= 0.

    Returns:
        The p-value, float64, in the broadcast shape of the arguments; 1 for a tie.

    Raises:
        ValueError: an argument is out of its range.

    Source: K. Hung and W. Fithian, "Rank Verification for Exponential Families", Annals of Statistics 47, 2019; used
    in PREDICT of Cohen et al. 2019, Proposition 1.
    """
    a, b = np.broadcast_arrays(np.asarray(top, dtype=np.float64), np.asarray(runner_up, dtype=np.float64))
    if not np.all((b >= 0) & (a >= b)):
        raise ValueError(f"votes must satisfy top >= runner_up >= 0, got {top} and {runner_up}")
    return np.minimum(1.0, 2.0 * top_class_p_value(a, a + b))[()]
