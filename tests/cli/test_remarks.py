import sys

from lightning_rs.cli import say


def test_a_remark_is_one_line_on_stderr(capsys):
    say("a reason\nin two lines")
    assert capsys.readouterr() == ("", "a reason in two lines\n")


def test_where_nothing_can_be_said_nothing_fails(monkeypatch):
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stderr", full)
        say("a" * 10_000)
        monkeypatch.undo()
