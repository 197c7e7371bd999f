"""Hostile names in each target: parsed, drawn and read back as the target's programs do."""

import csv
import io
import re
import string
import xml.etree.ElementTree as ET

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from matplotlib.cbook import is_math_text

from lightning_rs.results.escaping import csv_text, markdown, one_line, plot_text, tex, tex_comment
from lightning_rs.results.plots import finish, new_figure

HOSTILE = [
    "a\n\\input{/etc/passwd}",
    "\\write18{rm -rf ~}% $x^2$ & #1 _y_ ~ [2ex] *",
    "=cmd|' /C calc'!A0",
    "<script>alert(1)</script> `code` **b** [x](javascript:y) ![i](u) &lt;",
    "\x1b[31mred\x1b[0m\x07\x9b2J\r\u202eevil\u2028\udc80\x00",
    "[bold red]markup[/] [link=file:///x]y[/link]",
    "$\\undefined{$ and $odd",
    "__0__",
]
TEXT = st.text(st.characters(codec=None), max_size=40) | st.text(alphabet=string.punctuation + "\n\rab1", max_size=30)


def each(test):
    for text in HOSTILE:
        test = example(text)(test)
    return settings(max_examples=200)(given(TEXT)(test))


@each
def test_one_line_is_seen_and_can_be_encoded(text):
    line = one_line(text)
    assert line.isprintable() and len(line.splitlines()) <= 1
    line.encode()
    assert one_line(line) == line


def test_one_line_by_hand():
    assert one_line("a\nb\x1b[0m\u202e\udc80\xa0ü") == "a\\nb\\x1b[0m\\u202e\\udc80 ü"
    assert one_line("cohen_two_sided, σ = 0.25") == "cohen_two_sided, σ = 0.25"


# TeX's tokens: a control sequence, or one character.
TOKEN = re.compile(r"\\(?:[a-zA-Z]+|.)|.", re.DOTALL)
HARMLESS = {"textbackslash", "textasciitilde", "textasciicircum", "textless", "textgreater", "textbar"}
HARMLESS |= {"textasciigrave", "sigma", "alpha", *"{}$&#%_"}


@each
def test_tex_leaves_no_active_character(text):
    tokens = TOKEN.findall(tex(text))
    depth = dollars = 0
    for token in tokens:
        if token.startswith("\\"):
            assert token[1:] in HARMLESS, token
        assert token not in "&#%~^\n\r" or token == "", token
        depth += (token == "{") - (token == "}")
        dollars += token == "$"
        assert depth >= 0
    assert depth == 0 and dollars % 2 == 0
    for mathematics in re.findall(r"(?<!\\)\$(.*?)(?<!\\)\$", tex(text)):
        assert mathematics in (r"\sigma", r"\alpha", "p_A")
    assert not tex(text).startswith(("[", "*"))  # An option of the line's end before it.


def test_tex_by_hand():
    assert tex("p_A of map_A {σ}") == r"$p_A$ of map\_A \{$\sigma$\}"
    assert tex("\\input{x}") == r"\textbackslash{}input\{x\}"


@each
def test_a_comment_of_tex_is_one_line(text):
    line = tex_comment(text)
    assert line.startswith("% ") and line.endswith("\n") and len(line.splitlines()) == 1


@each
def test_no_cell_is_a_formula(text):
    cell = csv_text(text)
    assert not cell.lstrip().startswith(tuple("=+-@\t\r"))
    file = io.StringIO()
    csv.writer(file).writerow([cell, "1.5"])
    assert list(csv.reader(io.StringIO(file.getvalue()))) == [[cell, "1.5"]]
    assert len(file.getvalue().splitlines()) == 1


def test_names_that_are_none_stay():
    for name in ("cohen", "salman:bound=betting", "as published, l1", "a-b", "0.5"):
        assert csv_text(name) == name


@each
def test_markdown_reads_as_the_text_alone(text):
    parser = MarkdownIt("commonmark", {"html": True}).enable("table").enable("strikethrough")
    shown = markdown(text)
    for source in (f"| a | b |\n|---|---|\n| {shown} | 1 |\n", f"- {shown}\n", f"**{shown}x**\n"):
        cells = [token for token in parser.parse(source) if token.type == "inline"]
        tokens = [token for cell in cells for token in cell.children]
        kinds = {"text"} | ({"strong_open", "strong_close"} if source.startswith("**") else set())
        assert {token.type for token in tokens} <= kinds, source
        assert not [token.type for token in parser.parse(source) if "heading" in token.type or "html" in token.type]
        read = "".join(token.content for token in tokens)
        expected = one_line(text)
        assert " ".join(expected.split()) in " ".join(read.split()), source


def test_markdown_by_hand():
    assert markdown("a_b & c [0, 1] 1.0") == "a_b & c [0, 1] 1.0"
    assert markdown("<script>|x") == r"&lt;script&gt;\|x"
    assert markdown("_a_ [x](y) &lt;") == r"\_a\_ [x\](y) &amp;lt;"
    assert [markdown(text) for text in ("- a", "# a", "1. a")] == ["\\- a", "\\# a", "1\\. a"]


@each
def test_matplotlib_sees_no_mathematics(text):
    shown = plot_text(text)
    assert not is_math_text(shown)
    assert not shown.startswith("_") and len(plot_text(text).replace("\\$", "$")) <= 81


@pytest.mark.parametrize("name", [*HOSTILE, "_hidden", "a_b\\frac", "x" * 500])
def test_a_name_is_drawn_and_stands_in_the_legend(tmp_path, name):
    figure, axes = new_figure()
    axes.plot([0, 1], [0, 1], label=plot_text(name))
    axes.set_xlabel(f"{plot_text(name)} radius $r$")  # Beside mathematics, too.
    legend = axes.legend()
    (entry,) = legend.get_texts()
    finish(figure, name, tmp_path / "plot.png")
    shown = one_line(name) if len(name) < 80 else "x" * 79 + "…"
    assert entry.get_text().replace("\\$", "$").strip() == shown.strip()
    text = list(ET.parse(tmp_path / "plot.svg").getroot().itertext())
    assert any(shown.strip() == part.strip() for part in text), text
    assert (tmp_path / "plot.png").stat().st_size > 1000
