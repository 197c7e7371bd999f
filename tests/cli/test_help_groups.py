import re

from jsonargparse import capture_parser

from lightning_rs.certify import main
from lightning_rs.cli import list_commands
from lightning_rs.cli.help_groups import GROUPS, GroupedParser


def test_every_option_is_in_exactly_one_group():
    """A new option of `certify` or of the settings needs a line in the table."""
    placed = [name for options in GROUPS.values() for name in options]
    parser = capture_parser(lambda: main([]))
    assert sorted(placed) == sorted(action.dest for action in parser._actions)


def test_the_page_shows_them_under_their_titles_and_names_the_commands(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    try:
        main(["--help"])
    except SystemExit as end:
        assert end.code == 0
    page = capsys.readouterr().out
    ways = ["--checkpoint FILE", "--arch NAME --data NAME --sigma NUMBER", "COMMAND ..."]
    usage = "\n       ".join(f"certify.py {way} [options]" for way in ways)
    assert page.startswith(f"usage: {usage}\n\n")
    titles = re.findall(r"^(\w.*):$", page, flags=re.MULTILINE)
    assert titles[:-1] == list(GROUPS)
    sections = dict(zip(titles, re.split(r"^\w.*:$", page, flags=re.MULTILINE)[1:], strict=True))
    for title, options in GROUPS.items():
        shown = re.findall(r"^  (?:-h, )?--([\w.]+)", sections[title], flags=re.MULTILINE)
        assert sorted(shown) == sorted(options)
    for command in list_commands():
        assert re.search(rf"^  {command} +[A-Z]\w+", sections[titles[-1]], flags=re.MULTILINE)
    assert max(map(len, page.splitlines())) <= 80
    words = " ".join(page.split())
    assert "--mechanisms [NAME, ...]" in words and "(default: [cohen, cohen_two_sided])" in words
    assert "type:" not in words and "--stages+" not in words and "SUPPRESS" not in words


def test_an_option_without_a_group_is_shown_all_the_same():
    parser = GroupedParser()
    parser.add_argument("--newest", type=int, help="nobody has placed it")
    assert re.search(r"^options:\n  --newest NEWEST +nobody has placed it$", parser.format_help(), flags=re.MULTILINE)
