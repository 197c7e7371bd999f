from hypothesis import given
from hypothesis import strategies as st

from lightning_rs.results.figures import default_radii
from lightning_rs.results.radius_text import accuracy_headers, radius_texts

RADII = st.one_of(st.floats(0, 1e9), st.decimals(0, 4, places=3).map(float))


def test_usual_radii_read_as_they_always_did():
    for radius in (0.0, 0.25, 0.5, 0.75, 0.3, 1.0, 1e-05, 100000.0, 1.25):
        assert radius_texts([radius]) == [f"{radius:g}"]
    assert accuracy_headers(default_radii(0.1)) == ["R>0", "R>0.1", "R>0.2", "R>0.3"]


def test_never_rounded_up():
    assert radius_texts([0.1234567, 2 / 3]) == ["0.123456", "0.666666"]


def test_more_digits_where_two_would_read_alike():
    assert radius_texts([0.25, 0.1234561, 0.1234567]) == ["0.25", "0.1234561", "0.1234567"]
    assert radius_texts([0.3, 0.1 + 0.2]) == ["0.3", "0.30000000000000004"]


@given(st.lists(RADII, min_size=1, max_size=4, unique=True), st.sampled_from([1e-6, 1e-9, 1e-12, 3e-16]))
def test_all_are_told_apart_and_none_is_above_its_radius(radii, apart):
    radii = sorted({*radii, radii[0] * (1 + apart)})
    texts = radius_texts(radii)
    assert len(set(texts)) == len(radii)
    assert all(float(text) <= radius for text, radius in zip(texts, radii, strict=True))


def test_radii_of_tiny_noise_differ():
    assert radius_texts(default_radii(1e-12)) == ["0", "1e-12", "2e-12", "3e-12"]
