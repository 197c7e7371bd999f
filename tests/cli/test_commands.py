import pytest

from lightning_rs.cli import list_commands, run_command


def test_a_file_is_all_that_a_subcommand_takes():
    assert list(list_commands()) == ["attack", "audit", "merge", "plan", "recertify", "report"]


def test_an_unknown_one_ends_in_one_line(capsys):
    with pytest.raises(SystemExit):
        run_command(["retrain"])
    known = "attack, audit, merge, plan, recertify, report"
    assert capsys.readouterr().err == f"error: unknown command 'retrain'; known: {known}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["report", "nowhere"], "error: no results at nowhere\n"),
        (["report", "a", "b", "--confidence=2"], "error: confidence must lie in (0, 1), got 2.0\n"),
        (["recertify", "a", "b"], "error: unrecognized arguments: b\n"),
        (["report", "a", "--plugins=nowhere"], "error: module nowhere cannot be imported: ModuleNotFoundError: "),
    ],
)
def test_bad_input_ends_in_one_line(arguments, message, capsys):
    with pytest.raises(SystemExit) as error:
        run_command(arguments)
    assert error.value.code == 2
    assert capsys.readouterr().err.startswith(message)


def test_help_says_what_the_positional_arguments_are(capsys):
    with pytest.raises(SystemExit):
        run_command(["report", "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert "sources [sources ...]" in shown
    assert "directories of certifications, the field's" in shown
    assert "l2 radii of the table in pixel units" in shown


def test_what_is_false_if_left_out_is_a_flag(tmp_path, capsys):
    with pytest.raises(SystemExit):
        run_command(["report", str(tmp_path / "none"), "--common", "--output", str(tmp_path / "out")])
    assert capsys.readouterr().err == f"error: no results at {tmp_path / 'none'}\n"
