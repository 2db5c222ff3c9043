"""Image files of two splits that are the same, byte for byte: found by size and end, confirmed by all they hold."""

from __future__ import annotations

import os
from stat import S_ISREG
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

END = 4096
"""Bytes at the end of a file that are compared before the whole: two images hardly ever have them in common."""


def twins(ones: Iterable[Path], others: Sequence[Path]) -> list[tuple[Path, Path]]:
    """For every file of `others` that is among `ones` too, the two paths, which may be one; files that cannot be read
    are left out.
    """
    wanted = {size for path in others if (size := _size(path))}
    by_size: dict[int, list[Path]] = {}
    for path in ones:
        if (size := _size(path)) in wanted:
            by_size.setdefault(size, []).append(path)
    ends: dict[Path, bytes | None] = {}
    found = []
    for other in others:
        alike = by_size.get(_size(other), ())
        same = next((path for path in alike if path == other or _are_same(path, other, ends)), None)
        if same is not None:
            found.append((same, other))
    return found


def _size(path: Path) -> int:
    """0: nothing to compare."""
    try:
        status = os.stat(path)  # noqa: PTH116 - of many thousands
    except (OSError, ValueError):
        return 0
    return status.st_size if S_ISREG(status.st_mode) else 0


def _are_same(one: Path, other: Path, ends: dict[Path, bytes | None]) -> bool:
    for path in (one, other):
        if path not in ends:
            ends[path] = _read(path, END)
    if ends[one] is None or ends[one] != ends[other]:
        return False
    return _read(one) == _read(other)


def _read(path: Path, last: int | None = None) -> bytes | None:
    """The last bytes of a file, or all; None if it cannot be read."""
    try:
        with path.open("rb") as file:
            if last is not None:
                file.seek(max(0, os.fstat(file.fileno()).st_size - last))
            return file.read()
    except OSError:
        return None
