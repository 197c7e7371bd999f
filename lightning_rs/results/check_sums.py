"""Check sums in JSON texts: the last key of an object, so that a changed digit is found and not believed."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

_DIGITS = frozenset(b"0123456789abcdef")


@dataclass(frozen=True)
class CheckSum:
    """How an object is written with its check sum: the CRC-32 of the text before it, eight digits.

    Any change of a single byte is found, and of several with probability 1 - 2**-32.

    Attributes:
        end: what every text ends with that has no check sum.
        before, after: what stands around the digits of one that has.
    """

    end: bytes
    before: bytes
    after: bytes

    def add(self, text: bytes, start: int = 0) -> bytes:
        """The text with its check sum, which begins at `start`: a number of what the text belongs to."""
        body = text.removesuffix(self.end)
        return body + self.before + b"%08x" % zlib.crc32(body, start) + self.after

    def take(self, text: bytes, start: int = 0) -> tuple[bytes, bool]:
        """The text without its check sum, and whether it has one.

        Raises:
            ValueError: it does not fit.
        """
        place = len(text) - len(self.after) - 8
        body, digits = text[: max(place - len(self.before), 0)], text[place : place + 8]
        if text != body + self.before + digits + self.after or not _DIGITS.issuperset(digits):
            return text, False
        if int(digits, 16) != zlib.crc32(body, start):
            raise ValueError("its check sum does not fit")
        return body + self.end, True


LINE = CheckSum(b"}", b',"check":"', b'"}')
"""Of an object in one line."""

FILE = CheckSum(b"\n}\n", b',\n  "check": "', b'"\n}\n')
"""Of an object that is a file."""
