from dataclasses import dataclass, field
from typing import Any

import pytest

from lightning_rs.results import schema
from lightning_rs.results.schema import Answer, Count, Finite, NotNegative, Positive, Share, Word


@dataclass
class Thing:
    name: Word
    count: Count = 0
    share: Share | None = None
    parts: dict[Count, Positive] = field(default_factory=dict)


THING = schema.strict(Thing)


def test_fields_that_are_not_given_are_left_out():
    assert schema.said(schema.decode(b'{"name": "a", "parts": {"3": 2}}', THING)) == {"name": "a", "parts": {3: 2}}
    other = schema.strict(Thing, parts=list[Count])
    assert schema.said(schema.decode(b'{"name": "a", "parts": [3]}', other)) == {"name": "a", "parts": [3]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b'{"count": 1}', "Object missing required field `name`"),
        (b'{"name": "a", "colour": 1}', "Object contains unknown field `colour`"),
        (b'{"name": "a", "name": "b"}', "the key 'name' stands there twice"),
        (b'{"name": "a", "parts": {"1": 2, "1": 3}}', "the key '1' stands there twice"),
        (b'{"name": "a", "parts": {"1": 2, "01": 3}}', "Expected `int`, got `str` - at `key` in `$.parts`"),
        (b'{"name": "a", "count": 1.0}', "Expected `int`, got `float` - at `$.count`"),
        (b'{"name": "a", "count": true}', "Expected `int`, got `bool` - at `$.count`"),
        (b'{"name": "a", "count": "1"}', "Expected `int`, got `str` - at `$.count`"),
        (b'{"name": "a", "count": 9223372036854775808}', "Expected `int` <= "),
        (b'{"name": "a", "share": NaN}', "JSON is malformed"),
        (b'{"name": "a", "share": 1e999}', "Number out of range"),
        (b'{"name": "\xff"}', "'utf-8' codec can't decode"),
        (b'{"name": "a"} {}', "JSON is malformed: trailing characters"),
        (b'\xef\xbb\xbf{"name": "a"}', "JSON is malformed"),
        (b"", "Input data was truncated"),
        (b'{"name":' * 100_000, ""),
    ],
)
def test_what_is_not_of_the_type_is_one_line(text, message):
    with pytest.raises(ValueError) as error:
        schema.decode(text, THING)
    assert str(error.value).startswith(message) and len(str(error.value).splitlines()) == 1


def test_a_long_value_is_not_repeated():
    with pytest.raises(ValueError) as error:
        schema.decode(b'{"name": "a", "' + b"x" * 10_000 + b'": 1}', THING)
    assert str(error.value).startswith("Object contains unknown field `xxx") and len(str(error.value)) <= 305


def test_deep_nesting_is_a_line_where_anything_may_stand():
    with pytest.raises(ValueError, match="it is nested too deeply"):
        schema.decode(b"[" * 100_000, Any)


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (Count, (0, 2**40), (-1, 2**40 + 1, 1.0, None)),
        (Positive, (1,), (0,)),
        (Answer, (-1, 7), (-2,)),
        (Share, (0, 0.5, 1.0), (-1e-300, 1.0000001, float("nan"), float("inf"), 10**400)),
        (NotNegative, (0.0, 1e308), (-1.0, float("inf"), float("nan"), 10**400)),
        (Finite, (-1e308, 3), (float("-inf"), float("nan"), -(10**400))),
        (Word, ("a b", "σ = 1"), ("", "x" * 501, "a\nb", "a\n", "\x00", "a\u2028b", "\x85", 1)),
    ],
)
def test_ranges(kind, good, bad):
    for value in good:
        schema.check(value, kind)
    for value in bad:
        with pytest.raises(ValueError):
            schema.check(value, kind)
