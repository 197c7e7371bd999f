"""Checks of user input: each raises `ValueError` with one line that says what was expected and what came."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import pairwise


def check_alpha(alpha: float) -> float:
    """Return the failure probability `alpha` if it lies in the open interval (0, 1)."""
    if not 0.0 < alpha < 1.0:
        raise ValueError(f"alpha must lie in (0, 1), got {alpha}")
    return float(alpha)


def alpha_left(alpha: float, sampling_error: float) -> float:
    """What a bound may spend of `alpha`: all but the probability that a draw is not an exact one of its noise.

    Raises:
        ValueError: alpha outside (0, 1), or draws so many that this is more than a hundredth of alpha.
    """
    alpha = check_alpha(alpha)
    if sampling_error > alpha / 100.0:
        raise ValueError(
            f"with 64 random bits a pixel, one of these draws is inexact with probability up to {sampling_error:.2g}, "
            f"more than a hundredth of alpha = {alpha:g}: take fewer draws, a larger alpha or a coarser grid"
        )
    return alpha - sampling_error


def check_sigma(sigma: float) -> float:
    """Return the noise standard deviation `sigma` if it is positive and finite."""
    return check_positive("sigma", sigma)


def check_at_least(name: str, value: int, least: int) -> int:
    """Return the integer `value` if it is no less than `least`."""
    try:
        fits = int(value) == value and value >= least
    except (TypeError, ValueError, OverflowError):
        fits = False
    if not fits:
        raise ValueError(f"{name} must be an integer of at least {least}, got {value}")
    return int(value)


def check_word(name: str, value: int) -> int:
    """Return the integer `value` if it is one of 64 bits without a sign."""
    if check_at_least(name, value, 0) >= 2**64:
        raise ValueError(f"{name} must be less than 2**64, got {value}")
    return int(value)


def check_known(kind: str, name: str, known: Iterable[str]) -> str:
    """Return `name` if it is one of `known`; the error lists them."""
    known = sorted(known)
    if name not in known:
        raise ValueError(f"unknown {kind} {name!r}; known: {', '.join(known)}")
    return name


def check_radii(radii: Iterable[float]) -> tuple[float, ...]:
    """Return `radii` as floats if they are at least zero and strictly increasing."""
    values = tuple(float(r) for r in radii)
    if not values or not all(math.isfinite(r) and r >= 0.0 for r in values):
        raise ValueError(f"radii must be one or more finite numbers >= 0, got {list(values)}")
    if any(b <= a for a, b in pairwise(values)):
        raise ValueError(f"radii must be strictly increasing, got {list(values)}")
    return values


def check_positive(name: str, value: float) -> float:
    """Return `value` if it is positive and finite."""
    if not (value > 0.0 and math.isfinite(value)):
        raise ValueError(f"{name} must be positive and finite, got {value}")
    return float(value)


def check_not_negative(name: str, value: float) -> float:
    """Return `value` if it is at least zero and finite."""
    if not (value >= 0.0 and math.isfinite(value)):
        raise ValueError(f"{name} must be at least 0 and finite, got {value}")
    return float(value)
