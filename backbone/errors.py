"""The one exception for bad input."""

from __future__ import annotations

import unicodedata

UNPRINTABLE = {"Cc", "Cs", "Zl", "Zp"}
"""Unicode's categories of control characters, parts of undecodable bytes, and separators of lines and paragraphs."""
DIRECTIONS = frozenset("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Marks that change the order in which a text is shown."""


class InputError(ValueError):
    """Something that the user gave does not fit: an argument, a file, a value in a file.

    The message is one line and complete: it names the file or argument, the value, what is allowed, and the remedy. The
    command line prints it without a traceback and exits with 2.
    """

    def __str__(self) -> str:
        return printable(super().__str__())


def printable(text: str) -> str:
    """A text on one line for a terminal; what could steer it, or look like a line of ours, is written as escapes."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        letter.encode("unicode_escape").decode("ascii")
        if unicodedata.category(letter) in UNPRINTABLE or letter in DIRECTIONS
        else letter
        for letter in text
    )
