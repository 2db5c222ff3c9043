"""Tables as files: CSV that a spreadsheet takes as text and numbers, and never as a formula."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Any

from backbone.disk import whole_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""How a cell begins that spreadsheets compute instead of showing it."""


def write_table(path: Path, header: Sequence[Any], rows: Iterable[Sequence[Any]]) -> None:
    """Write a CSV file, whole or not at all.

    Texts that a spreadsheet would take for a formula get an apostrophe in front, as one typed there would have; what
    UTF-8 does not know is written as escapes.

    Raises:
        UnwritableError: the disk is full, or the folder may not be written.
    """
    with whole_file(path) as part, part.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        table = csv.writer(file)
        table.writerow(map(_cell, header))
        table.writerows(map(_cell, row) for row in rows)


def _cell(value: Any) -> Any:
    if isinstance(value, int | float):
        return value
    text = str(value)
    return f"'{text}" if text.startswith(FORMULA) else text
