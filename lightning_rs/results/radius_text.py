"""Radii of interest as text: in headers of tables, and in names of figures and columns."""

from __future__ import annotations

import decimal
from collections.abc import Sequence

# As many digits as `format(radius, "g")` has, which is what names of figures have always had.
_USUAL, _ALL = 6, 17


def radius_texts(radii: Sequence[float]) -> list[str]:
    """Each radius with six digits, or as many more as tell all of them apart; none reads back as more than it is.

    A text that was rounded up would promise more than was counted, and two radii with one text would share a column.

    Args:
        radii: different ones, finite and at least 0.
    """
    shortest = {}
    for digits in range(_USUAL, _ALL + 1):
        texts = [_rounded_down(radius, digits) for radius in radii]
        for radius, text in zip(radii, texts, strict=True):
            if texts.count(text) == 1:
                shortest.setdefault(radius, text)
    return [shortest[radius] for radius in radii]


def accuracy_headers(radii: Sequence[float]) -> list[str]:
    """Headers of columns that count the images with a radius above each, `R>0.25`: a certificate's ball is open."""
    return [f"R>{text}" for text in radius_texts(radii)]


def _rounded_down(radius: float, digits: int) -> str:
    if digits == _ALL:
        return repr(float(radius))
    # Of the decimal number that stands for the float: that of .3 is a little below .3, and would end in nines.
    down = decimal.Context(prec=digits, rounding=decimal.ROUND_FLOOR).create_decimal(repr(float(radius)))
    return f"{float(down):.{digits}g}"
