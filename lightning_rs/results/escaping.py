"""Text of others (names of runs, mechanisms, architectures) as text and nothing else, one function for each target.

A name may hold a line feed and LaTeX's `\\input`, a spreadsheet's formula, mathematics, markup, or a terminal's control
sequences. It is made harmless where it is written, and only there: everywhere else it stays what it is.
"""

from __future__ import annotations

import re
import unicodedata

_TEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        "`": r"\textasciigrave{}",
        # After \\ and \midrule these two would begin an option, or be one.
        "[": "{[}",
        "*": "{*}",
        "–": "--",
        "σ": r"$\sigma$",
        "α": r"$\alpha$",
    }
    | {character: f"\\{character}" for character in "{}$&#%_"}
)
_MARKDOWN = str.maketrans(
    {"<": "&lt;", ">": "&gt;"} | {character: f"\\{character}" for character in "\\`*|$~"}
)
_FORMULA = tuple("=+-@\uff1d\uff0b\uff0d\uff20")  # The wide ones are formulas to spreadsheets of East Asia.


def one_line(text: str) -> str:
    r"""The text with everything that cannot be seen written out: a line feed as `\n`, an escape as `\x1b`.

    For terminals, and first of all for the other targets. What turns the direction of writing is written out, too, and
    half a pair of code units, which is no character and cannot be encoded.
    """
    return "".join(map(_visible, text))


def tex(text: str) -> str:
    """For LaTeX's text and tables; p_A as mathematics."""
    return "$p_A$".join(part.translate(_TEX) for part in re.split(r"\bp_A\b", one_line(text)))


def tex_comment(text: str) -> str:
    """A comment line of LaTeX, with its end."""
    return f"% {one_line(text)}\n"


def markdown(text: str) -> str:
    """For Markdown's text and tables, with HTML and mathematics in them or not."""
    text = re.sub(r"&(?=#?\w+;)", "&amp;", one_line(text)).translate(_MARKDOWN)
    text = re.sub(r"(?<![^\W_])_|_(?![^\W_])|\](?=[(\[:])", r"\\\g<0>", text)  # Emphasis; a link.
    return re.sub(r"^(?=[-+#])|^(\d+)(?=[.)](?:\s|$))", r"\1\\", text)  # A list or a heading.


def csv_text(text: str) -> str:
    """For a cell of CSV that is no number, which spreadsheets shall not compute; the quotes are the writer's."""
    text = one_line(text)
    return f"'{text}" if text.lstrip().startswith(_FORMULA) else text


def plot_text(text: str, longest: int = 80) -> str:
    """For matplotlib: no mathematics, and no leading underscore, with which it leaves a name out of the legend.

    Args:
        text: the text.
        longest: number of characters after which it is cut, as long text leaves no room for the plot.
    """
    text = one_line(text)
    text = (text if len(text) <= longest else f"{text[: longest - 1]}…").replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text


def _visible(character: str) -> str:
    if character.isprintable():
        return character
    return " " if unicodedata.category(character) == "Zs" else character.encode("unicode_escape").decode()
