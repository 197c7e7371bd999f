import signal
from collections.abc import Sequence
from typing import Any, Literal

import pytest
from jsonargparse import auto_cli
from pytorch_lightning.utilities import rank_zero_only

from lightning_rs.cli import CertifyParser, clean_exit, fail


@pytest.mark.parametrize("error", [ValueError("first\n  second"), FileNotFoundError("first second")])
def test_what_a_user_can_mend_ends_in_one_line(error, capsys):
    with pytest.raises(SystemExit) as left, clean_exit():
        raise error
    assert left.value.code == 2
    assert capsys.readouterr().err == "error: first second\n"


def test_ctrl_c_ends_in_one_line(capsys):
    with pytest.raises(SystemExit) as left, clean_exit():
        signal.raise_signal(signal.SIGINT)
    assert left.value.code == 130
    assert capsys.readouterr().err == "\nstopped by SIGINT\n"


def test_of_several_processes_one_says_why_they_end(monkeypatch, capsys):
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    for error in (ValueError("a"), KeyboardInterrupt()):
        with pytest.raises(SystemExit), clean_exit():
            raise error
    assert not capsys.readouterr().err


def test_other_errors_keep_their_traceback():
    with pytest.raises(KeyError), clean_exit():
        raise KeyError("a")


def test_the_wrapping_of_a_links_failure_is_left_out(capsys):
    with pytest.raises(SystemExit):
        fail(
            "Call to compute_fn of link 'f(data) --> model.x' with args (<a>\n<b>) failed: NoMean does not say its mean"
        )
    assert capsys.readouterr().err == "error: NoMean does not say its mean\n"


def test_a_class_that_is_not_there(capsys):
    message = """Parser key "data":

  - Expected a path but mydata.Nope either not accessible or invalid
  - Does not validate against any of the Union subtypes
  Errors:
    - Problem with given class_path 'mydata.Nope':
        module 'mydata' has no attribute 'Nope'
    - Expected a <class 'NoneType'>
  Given value: mydata.Nope"""
    with pytest.raises(SystemExit):
        CertifyParser().error(message)
    expected = "error: Problem with given class_path 'mydata.Nope': module 'mydata' has no attribute 'Nope'\n"
    assert capsys.readouterr().err == expected


def test_what_a_terminal_would_obey_is_written_out(capsys):
    with pytest.raises(SystemExit):
        fail("no results at \x1b[2Ja\x07\u202eb")
    assert capsys.readouterr().err == "error: no results at \\x1b[2Ja\\x07\\u202eb\n"


def test_the_option_is_named_even_if_its_letter_stands_in_the_reason(capsys):
    with pytest.raises(SystemExit):
        CertifyParser().error("""Parser key "n":
  Does not validate against any of the Union subtypes
  Errors:
    - Expected a <class 'int'>. Got value: 0.5
  Given value: 0.5""")
    assert capsys.readouterr().err == "error: n: Expected an integer, got 0.5\n"


@pytest.mark.parametrize(
    ("option", "line"),
    [
        ("--devices=two", "error: devices: Expected an integer or 'auto', got two"),
        ("--seed=x", "error: seed: Expected an integer or 'random', got x"),
        ("--radii=0.5x", "error: radii: Expected a list, as in '[a, b]', got 0.5x"),
        ("--mechanisms=cohen", "error: mechanisms: Expected a list, as in '[a, b]', got cohen"),
        ("--sigma=a", "error: sigma: Expected a number, got a"),
        ("--facts=3", "error: facts: Expected a mapping, as in '{a: 1}', got 3"),
        ("--engine=rya", "error: engine: Expected one of 'lightning', 'ray', got rya"),
    ],
)
def test_what_an_option_takes_is_said_in_words(option, line, capsys):
    def program(
        devices: int | Literal["auto"] = "auto",
        seed: int | Literal["random"] = 0,
        radii: list[float] | None = None,
        mechanisms: Sequence[str] = (),
        sigma: float | None = None,
        facts: dict[str, Any] | None = None,
        engine: Literal["lightning", "ray"] = "lightning",
    ) -> None:
        """Never called."""

    with pytest.raises(SystemExit):
        auto_cli(program, args=[option], as_positional=False, parser_class=CertifyParser)
    assert capsys.readouterr().err == line + "\n"
