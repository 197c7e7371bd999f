import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from odd_values import ODD, odd

from lightning_rs import checks

CHECKS = {
    "check_alpha": checks.check_alpha,
    "check_inside": lambda value: checks.check_inside("x", value, -1.0, 2.0),
    "check_sigma": checks.check_sigma,
    "alpha_left": lambda value: checks.alpha_left(value, 1e-9),
    "check_at_least": lambda value: checks.check_at_least("x", value, 1),
    "check_attempts": checks.check_attempts,
    "check_draws": lambda value: checks.check_draws("x", value, 1),
    "check_word": lambda value: checks.check_word("x", value),
    "check_flag": lambda value: checks.check_flag("x", value),
    "check_known": lambda value: checks.check_known("x", value, ("one", "two")),
    "check_radii": checks.check_radii,
    "check_several": lambda value: checks.check_several("x", value),
    "check_positive": lambda value: checks.check_positive("x", value),
    "check_not_negative": lambda value: checks.check_not_negative("x", value),
}


def ends_in_one_line(check, value):
    try:
        check(value)
    except ValueError as error:
        assert "\n" not in str(error) and len(str(error)) < 250
        return True
    return False


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
@settings(max_examples=60)
@given(value=odd)
def test_any_value_passes_or_ends_in_one_line(check, value):
    ends_in_one_line(check, value)


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
def test_listed_values_pass_or_end_in_one_line(check):
    assert sum(ends_in_one_line(check, value) for value in ODD) > len(ODD) / 3


def test_every_check_is_tried():
    assert {name for name in vars(checks) if name.startswith("check_") or name == "alpha_left"} == set(CHECKS)


@given(st.floats(1e-300, 1.0, exclude_max=True), st.integers(1, 10**6))
def test_shares_add_up_to_at_most_the_whole(alpha, parts):
    share = checks.alpha_share(alpha, parts)
    assert 0 < parts * Fraction(share) <= Fraction(alpha)
    assert share >= alpha / parts * (1 - 5e-16) and checks.alpha_share(alpha, 1) == alpha


def test_radii_have_no_negative_zero():
    assert math.copysign(1.0, checks.check_radii([-0.0, 0.5])[0]) == 1.0


@given(st.floats(1e-300, 1e300), st.integers(1, 2**31 - 1))
def test_what_is_meant_passes_unchanged(number, whole):
    assert checks.check_positive("x", number) == checks.check_not_negative("x", number) == number
    assert checks.check_positive("x", np.float32(0.5)) == 0.5
    for kind in (int, float, np.int64):
        value = checks.check_draws("x", kind(whole), 1)
        assert value == whole and type(value) is int
    assert checks.check_radii([0, number]) == (0.0, number)


@pytest.mark.parametrize(
    ("check", "message"),
    [
        (lambda: checks.check_alpha("0.001"), r"alpha must lie in \(0, 1\), got '0.001'"),
        (lambda: checks.check_alpha(None), r"alpha must lie in \(0, 1\), got None"),
        (lambda: checks.check_sigma(True), "sigma must be positive and finite, got True"),
        (lambda: checks.check_at_least("n", "5", 1), "n must be an integer of at least 1, got '5'"),
        (lambda: checks.check_at_least("n", True, 1), "n must be an integer of at least 1, got True"),
        (lambda: checks.check_attempts(10**7), "attempts must be at most a million, got 10000000"),
        (lambda: checks.check_draws("n", 3e9, 1), r"n must be less than 2\*\*31, .* got 3000000000.0"),
        (lambda: checks.check_word("seed", 2**64), r"seed must be less than 2\*\*64, got 18446744073709551616"),
        (lambda: checks.check_word("seed", 10**5000), r"seed must be less than 2\*\*64, got a huge int"),
        (lambda: checks.check_flag("compile", "false"), "compile must be true or false, got 'false'"),
        (lambda: checks.check_radii("0.5"), "radii must be a list, got '0.5'"),
        (lambda: checks.check_radii([0.5, 0.5]), "radii must be strictly increasing"),
        (lambda: checks.check_known("bound", [1], ["a"]), r"unknown bound \[1\]; known: a"),
    ],
)
def test_messages_say_what_was_expected_and_what_came(check, message):
    with pytest.raises(ValueError, match=f"^{message}$" if "increasing" not in message else message):
        check()


def test_what_is_no_number_lies_in_no_range():
    assert all(math.isnan(checks.as_number(value)) for value in ("1", b"1", None, True, 1j, [1.0, 2.0], {}))
    assert checks.as_number(10**400) == math.inf
    assert checks.shown("a\nb" * 100).endswith("...")
