import pytest

from lightning_rs.data import Digits, ImageFolder, typed_arguments


def test_texts_are_read_as_the_types_of_the_class():
    given = {"root": "2020", "size": "32", "test_fraction": "0.25", "check_files": "false", "batch_size": 8}
    expected = {"root": "2020", "size": 32, "test_fraction": 0.25, "check_files": False, "batch_size": 8}
    assert typed_arguments(ImageFolder, given) == expected
    assert typed_arguments(ImageFolder, {"size": "null"}) == {"size": None}
    assert typed_arguments(Digits, {}) == {}


def test_what_a_class_does_not_take():
    with pytest.raises(ValueError, match="^unknown rot; known: augmentation, batch_size, "):
        typed_arguments(ImageFolder, {"rot": "x"})
    with pytest.raises(ValueError, match='^argument "batch_size"') as caught:
        typed_arguments(Digits, {"batch_size": "many"})
    assert "\n" not in str(caught.value)


def test_arguments_that_a_class_hands_on_are_known():
    class Mine(Digits):
        def __init__(self, rows: int = 3, **others) -> None:
            super().__init__(**others)

    assert typed_arguments(Mine, {"batch_size": "4", "rows": "5"}) == {"batch_size": 4, "rows": 5}
