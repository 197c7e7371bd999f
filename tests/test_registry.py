import importlib
import sys

import pytest

from lightning_rs.registry import Registry, import_users_module, split_options, split_words


class Shape:
    pass


def registry(package, adopt=None):
    def name_of(value):
        return value.__name__ if isinstance(value, type) and hasattr(value, "corners") else None

    return Registry("shape", package, name_of, "--shape {}", adopt)


@pytest.fixture
def packages(tmp_path, monkeypatch):
    """`shapes`, whose modules define ours, and a user's package and module."""
    files = {
        "shapes/__init__.py": "",
        "shapes/base.py": "class Base:\n    pass\n",
        "shapes/square.py": "class Square:\n    corners = 4\n",
        "shapes/tri.py": "from shapes.square import Square\nclass Tri:\n    corners = 3\n",
        "mine/__init__.py": "from shapes.square import Square\nfrom mine.penta import Penta\ndef make(): pass\n",
        "mine/penta.py": "class Penta:\n    corners = 5\n",
        "clash.py": "class Square:\n    corners = 4\n",
        "fails.py": "1 / 0\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    yield registry("shapes")
    for name in list(sys.modules):
        if name.split(".")[0] in ("shapes", "mine", "clash", "fails"):
            del sys.modules[name]


def test_a_file_is_all_that_ours_take(packages):
    assert sorted(packages) == ["Square", "Tri"]
    assert packages.get("Tri").corners == 3
    with pytest.raises(ValueError, match="^unknown shape 'Hexa'; known: Square, Tri$"):
        packages.get("Hexa")


def test_get_imports_nothing_and_load_what_the_user_names(packages):
    message = "^unknown shape 'mine.Penta'; known: Square, Tri; what only a file names is never imported: "
    with pytest.raises(ValueError, match=message + "if it is yours, give --shape mine.Penta or --plugins mine$"):
        packages.get("mine.Penta")
    assert "mine" not in sys.modules
    assert packages.load("mine.Penta").corners == 5
    assert packages.get("mine.Penta") is packages.load("mine.Penta") is packages.get("Penta")
    assert packages.load("clash.Square").corners == 4
    assert packages.get("Square") is not packages.get("clash.Square")
    for name, message in (
        ("mine.Hexa", "module mine has no Hexa"),
        ("mine.make", "mine.make is no shape"),
        ("nowhere.Hexa", "module nowhere cannot be imported: ModuleNotFoundError: No module named 'nowhere'"),
        ("fails.Hexa", "module fails cannot be imported: ZeroDivisionError"),
        ("Hexa", "unknown shape 'Hexa'"),
    ):
        with pytest.raises(ValueError, match=message):
            packages.load(name)


def test_plug_in_enters_what_a_module_defines_by_name_and_path(packages):
    for _ in range(2):  # A second time changes nothing.
        packages.plug_in(import_users_module("mine"))
        assert sorted(packages) == ["Penta", "Square", "Tri", "mine.Penta", "mine.penta.Penta"]
    with pytest.raises(ValueError, match="shape 'Square' of clash has the name of another"):
        packages.plug_in(import_users_module("clash"))


def test_add_enters_a_class_that_code_hands_over(packages):
    packages.add(Shape)
    assert packages.get(f"{__name__}.Shape") is Shape
    packages.add(importlib.import_module("shapes.square").Square)
    assert len(packages) == 3


def test_adopted_are_classes_of_a_plugged_in_module_and_whatever_the_user_names(packages):
    def adopt(path, value):
        if value.__name__ == "Base":
            raise TypeError(f"{path} cannot serve")
        return value

    shapes = registry("shapes", adopt)
    shapes.plug_in(import_users_module("mine"))
    with pytest.raises(ValueError, match="unknown shape 'mine.make'"):
        shapes.get("mine.make")
    assert shapes.load("mine.make") is sys.modules["mine"].make
    with pytest.raises(ValueError, match=r"shapes.base.Base cannot serve"):
        shapes.load("shapes.base.Base")


def test_options_in_a_text():
    assert split_words("shape", "a.B:x=007,y=.5") == ("a.B", {"x": "007", "y": ".5"})
    assert split_options("shape", "a") == ("a", {})
    assert split_options("shape", "a.B:x=1,y=.5,z=w") == ("a.B", {"x": 1, "y": 0.5, "z": "w"})
    for text, message in (
        ("a:x", "a shape must read name or name:option=value,option=value, got 'a:x'"),
        ("a:x=1,x=2", "option x is given twice in 'a:x=1,x=2'"),
    ):
        with pytest.raises(ValueError, match=message):
            split_options("shape", text)
