"""Checks of user input: each raises `ValueError` with one line that says what was expected and what came."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import pairwise
from numbers import Complex, Real
from typing import Any


def check_alpha(alpha: float) -> float:
    """Return the failure probability `alpha` if it lies in the open interval (0, 1)."""
    return check_inside("alpha", alpha)


def check_inside(name: str, value: float, low: float = 0.0, high: float = 1.0) -> float:
    """Return `value` if it lies in the open interval (low, high)."""
    if not low < as_number(value) < high:
        raise ValueError(f"{name} must lie in ({low:g}, {high:g}), got {shown(value)}")
    return float(value)


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


def alpha_share(alpha: float, parts: int) -> float:
    """What each of so many parts may spend of `alpha`: all of them together, in exact arithmetic, at most alpha."""
    return alpha if parts == 1 else math.nextafter(alpha / parts, 0.0)


def check_attempts(attempts: int) -> int:
    """Return the number of `attempts` among which alpha is divided if it is one of at least 1."""
    if check_at_least("attempts", attempts, 1) > 10**6:
        raise ValueError(f"attempts must be at most a million, got {shown(attempts)}")
    return int(attempts)


def check_sigma(sigma: float) -> float:
    """Return the noise standard deviation `sigma` if it is positive and finite."""
    return check_positive("sigma", sigma)


def check_at_least(name: str, value: int, least: int) -> int:
    """Return the integer `value` if it is no less than `least`."""
    try:
        fits = not math.isnan(as_number(value)) and int(value) == value and value >= least
    except OverflowError:  # Of infinity.
        fits = False
    if not fits:
        raise ValueError(f"{name} must be an integer of at least {least}, got {shown(value)}")
    return int(value)


def check_draws(name: str, value: int, least: int) -> int:
    """Return the number of draws `value` if it is no less than `least`, and so small that sums fit 64 bits."""
    if check_at_least(name, value, least) >= 2**31:
        raise ValueError(f"{name} must be less than 2**31, so that sums fit 64 bits, got {shown(value)}")
    return int(value)


def check_word(name: str, value: int) -> int:
    """Return the integer `value` if it is one of 64 bits without a sign."""
    if check_at_least(name, value, 0) >= 2**64:
        raise ValueError(f"{name} must be less than 2**64, got {shown(value)}")
    return int(value)


def check_flag(name: str, value: bool) -> bool:
    """Return `value` if it is a truth value, not merely something that counts as one: the text "false" does."""
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be true or false, got {shown(value)}")
    return value


def check_known(kind: str, name: str, known: Iterable[str]) -> str:
    """Return `name` if it is one of `known`; the error lists them."""
    known = sorted(known)
    if not isinstance(name, str) or name not in known:
        raise ValueError(f"unknown {kind} {shown(name)}; known: {', '.join(known)}")
    return name


def check_radii(radii: Iterable[float]) -> tuple[float, ...]:
    """Return `radii` as floats if they are at least zero and strictly increasing."""
    values = check_several("radii", radii)
    numbers = tuple(as_number(value) + 0.0 for value in values)  # -0.0 is 0.
    if not numbers or not all(math.isfinite(r) and r >= 0.0 for r in numbers):
        raise ValueError(f"radii must be one or more finite numbers >= 0, got {shown(values)}")
    if any(b <= a for a, b in pairwise(numbers)):
        raise ValueError(f"radii must be strictly increasing, got {shown(list(numbers))}")
    return numbers


def check_several(name: str, values: Iterable[Any]) -> list[Any]:
    """Return `values` as a list if there can be several: a text is one."""
    try:
        if not isinstance(values, str):
            return list(values)
    except TypeError:
        pass
    raise ValueError(f"{name} must be a list, got {shown(values)}")


def check_positive(name: str, value: float) -> float:
    """Return `value` if it is positive and finite."""
    number = as_number(value)
    if not (number > 0.0 and math.isfinite(number)):
        raise ValueError(f"{name} must be positive and finite, got {shown(value)}")
    return number


def check_not_negative(name: str, value: float) -> float:
    """Return `value` if it is at least zero and finite."""
    number = as_number(value)
    if not (number >= 0.0 and math.isfinite(number)):
        raise ValueError(f"{name} must be at least 0 and finite, got {shown(value)}")
    return number


def as_number(value: object) -> float:
    """`value` as a float; NaN, which lies in no range, for what is no real number: a text, a truth value, a list.

    To Python a truth value is an integer, but where a number is expected it is a mistake.
    """
    if isinstance(value, (bool, str, bytes)) or (isinstance(value, Complex) and not isinstance(value, Real)):
        return math.nan
    try:
        return float(value)  # type: ignore[arg-type]
    except OverflowError:
        return math.inf
    except (TypeError, ValueError, RuntimeError):  # The last is a tensor's that has no one value.
        return math.nan


def shown(value: object) -> str:
    """`value` in one line of a message, cut where it is long."""
    try:
        text = repr(value) if isinstance(value, str) else str(value)
    except ValueError:  # An integer of thousands of digits.
        text = f"a huge {type(value).__name__}"
    text = " ".join(text.split())
    return text if len(text) <= 100 else f"{text[:97]}..."
