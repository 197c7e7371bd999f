"""Every module of the mathematical core has its test at the same place, and no test has lost its module."""

import pytest
from conftest import ROOT

ROOMS = ["bounds", "radii", "statistics", "mechanisms", "noise", "smoothing"]


@pytest.mark.parametrize("room", ROOMS)
def test_tests_mirror_the_modules(room):
    modules = {path.stem for path in (ROOT / "lightning_rs" / room).glob("*.py")} - {"__init__"}
    tests = {path.stem.removeprefix("test_") for path in (ROOT / "tests" / room).glob("test_*.py")}
    assert tests == modules
