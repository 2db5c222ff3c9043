"""Tables as files: CSV that a spreadsheet takes as text and numbers, and never as a formula."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Any

from backbone.disk import whole_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

STEP = "step"
"""Column that every log of metrics has."""
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


def rows_of(path: Path) -> Iterator[dict[str, str]]:
    """Rows of a log of metrics by step, by column, up to the first line that is none of its own."""
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        columns: list[str] | None = None
        for line in file:
            cells = _cells(line) if line.endswith("\n") else []
            if columns is None:
                columns = cells
                if STEP not in columns or len(set(columns)) < len(columns):
                    return
            elif len(cells) == len(columns) and all(_is_number(cell) for cell in cells):
                yield dict(zip(columns, cells, strict=True))
            else:
                return


def _cells(line: str) -> list[str]:
    """Cells of a line; none where it is no line of a table."""
    try:
        return next(csv.reader([line]))
    except csv.Error:
        return []


def _is_number(cell: str) -> bool:
    """Whether a cell is empty or a number."""
    try:
        float(cell or "0")
    except ValueError:
        return False
    return True
