import json

import pytest

from lightning_rs.models import ImageFacts


def test_facts_are_kept_in_one_form_and_given_in_plain_values():
    facts = ImageFacts(10, [3, 32.0, 32], [0, 0.5, 1], (1, 1, 2), levels=255)
    assert facts == ImageFacts(10, (3, 32, 32), (0.0, 0.5, 1.0), (1.0, 1.0, 2.0), 255)
    plain = {"num_classes": 10, "shape": [3, 32, 32], "mean": [0.0, 0.5, 1.0], "std": [1.0, 1.0, 2.0]}
    plain |= {"levels": 255, "classes": None}
    assert facts.plain() == json.loads(json.dumps(plain)) == plain
    assert ImageFacts(**facts.plain()) == facts
    named = ImageFacts(2, (1, 2, 2), [0.5], [0.5], classes=["a", "b"])
    assert named.classes == ("a", "b") and named.plain()["classes"] == ["a", "b"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"levels": 0}, "levels must be an integer of at least 1, got 0"),
        ({"num_classes": 1}, "num_classes must be an integer of at least 2, got 1"),
        ({"shape": (1, 0, 8)}, r"shape must be \(channels, height, width\), each at least 1, got \(1, 0, 8\)"),
        ({"shape": (8, 8)}, r"each at least 1, got \(8, 8\)"),
        ({"std": [0.5, 0.5]}, r"one entry for each of 1 channels, got \[0.5\] and \[0.5, 0.5\]"),
        ({"mean": [float("nan")]}, r"mean and std must be finite, and std positive, got \[nan\] and \[0.5\]"),
        ({"std": [float("inf")]}, r"and std positive, got \[0.5\] and \[inf\]"),
        ({"classes": ["a"] * 10}, r"classes must be 10 different names, got \['a', "),
        ({"classes": ["a", "b"]}, r"classes must be 10 different names, got \['a', 'b'\]"),
        ({"classes": list(range(10))}, "classes must be 10 different names, got"),
        ({"classes": "a"}, "classes must be a list, got 'a'"),
        ({"std": [-0.5]}, r"and std positive, got \[0.5\] and \[-0.5\]"),
    ],
)
def test_facts_that_cannot_be(change, message):
    with pytest.raises(ValueError, match=message):
        ImageFacts(**({"num_classes": 10, "shape": (1, 8, 8), "mean": [0.5], "std": [0.5]} | change))
