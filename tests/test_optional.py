import math

import pytest

from lightning_rs.optional import optional_import


def test_a_package_that_is_there():
    assert optional_import("math", "none") is math


def test_one_that_is_not_names_its_install_line():
    with pytest.raises(
        ValueError, match=r"^this needs no_such_package, which is not installed: pip install 'lightning_rs\[some\]'$"
    ):
        optional_import("no_such_package.part", "some")


@pytest.mark.parametrize("line", ["import no_such_package", "raise ImportError('built for\\nanother')"])
def test_one_that_does_not_work_says_why(tmp_path, monkeypatch, line):
    (tmp_path / "broken_package.py").write_text(line)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match="^broken_package cannot be imported: (No module named|built for another)"):
        optional_import("broken_package", "some")
