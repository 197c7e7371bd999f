"""The examples in docstrings do what they show."""

import doctest
import importlib
import pkgutil

import pytest

import lightning_rs

MODULES = [info.name for info in pkgutil.walk_packages(lightning_rs.__path__, "lightning_rs.")]


@pytest.mark.parametrize("name", MODULES)
def test_examples_give_what_they_show(name):
    result = doctest.testmod(importlib.import_module(name))
    assert result.failed == 0


def test_smoothed_classifier_has_an_example():
    from lightning_rs.smoothing import classifier

    examples = [test.examples for test in doctest.DocTestFinder().find(classifier)]
    assert any("certificates" in example.source for found in examples for example in found)
