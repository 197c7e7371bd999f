import json
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_rs.results.check_sums import FILE, LINE

VALUES = {"index": 3, "seconds": 0.25}
TEXTS = {LINE: json.dumps(VALUES, separators=(",", ":")).encode(), FILE: (json.dumps(VALUES, indent=2) + "\n").encode()}


@pytest.mark.parametrize("form", TEXTS)
def test_it_is_the_last_key_of_the_object(form):
    text = form.add(TEXTS[form], 17)
    body = TEXTS[form].removesuffix(form.end)
    assert json.loads(text) == VALUES | {"check": f"{zlib.crc32(body, 17):08x}"}
    assert list(json.loads(text))[-1] == "check"
    assert form.take(text, 17) == (TEXTS[form], True)


@pytest.mark.parametrize("form", TEXTS)
def test_a_text_without_one_stays(form):
    for text in (TEXTS[form], b"", b"{}", form.before, form.after, form.before + b"0000000g" + form.after):
        assert form.take(text) == (text, False)


@pytest.mark.parametrize("form", TEXTS)
def test_it_belongs_to_its_start(form):
    with pytest.raises(ValueError, match="its check sum does not fit"):
        form.take(form.add(TEXTS[form], 17), 18)


@given(st.sampled_from(list(TEXTS)), st.integers(0), st.integers(1, 255), st.integers(0, 2**32 - 1))
def test_any_changed_byte_is_found(form, place, change, start):
    """The text counts as changed, or as one without a check sum, whose last key then is foreign or which is no JSON."""
    text = bytearray(form.add(TEXTS[form], start))
    text[place % len(text)] ^= change
    try:
        taken, checked = form.take(bytes(text), start)
    except ValueError:
        return
    assert not checked and taken == text
    try:
        keys = set(json.loads(taken))
    except ValueError:
        return
    assert not keys <= set(VALUES)
