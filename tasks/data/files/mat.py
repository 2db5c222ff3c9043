"""MATLAB files (MAT, level 5) as numbers, texts and structures: what ImageNet's kit and SBD are published as.

Read here and not by scipy, which a damaged file ends by a segmentation fault. What is not asked for is skipped: cells,
objects, sparse and complex arrays.

Reference: MathWorks, MAT-File Format, Version 5. Shapes: M rows, N columns.
"""

from __future__ import annotations

import math
import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from backbone.errors import InputError
from tasks.data.files.contents import MAX_NOTE_BYTES, read_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

HEADER = 128
"""Bytes of text, then the version, then `MI` in the writer's byte order."""
NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
"""Data types that hold numbers."""
TEXTS = {1: "latin-1", 2: "latin-1", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}
MATRIX, COMPRESSED = 14, 15
STRUCT, CHAR = 2, 4
NUMERIC = range(6, 16)
"""Classes of arrays of numbers, from double to uint64."""
COMPLEX = 0x08
MAX_DEPTH = 8
MAX_BYTES = 256 << 20
"""That compressed parts may come to, together."""


class Struct(dict[str, list[Any]]):
    """An array of structures: of every field the values, in the order of memory (columns one after the other)."""


@dataclass(slots=True)
class _Element:
    kind: int
    data: memoryview


class _BrokenError(Exception):
    """The message says what is wrong."""


def read_mat(file: Path, name: str, remedy: str) -> Any:
    """The variable of that name: a `Struct`, a text, or an array of numbers (M, N); None if it is of another class.

    Raises:
        InputError: the file cannot be read, is no MAT file of level 5, is damaged, or has no such variable.
    """
    data = read_bytes(file, remedy, MAX_NOTE_BYTES)
    try:
        return _Reader(data).variable(name)
    except (_BrokenError, struct.error, zlib.error, UnicodeDecodeError, ValueError) as error:
        raise InputError(f"{file}: is no whole MAT file with {name} ({error}); {remedy}") from None


class _Reader:
    def __init__(self, data: bytes) -> None:
        mark = data[HEADER - 2 : HEADER]
        if mark not in (b"IM", b"MI"):
            raise _BrokenError("it has no header of level 5")
        self._order = "<" if mark == b"IM" else ">"
        self._data = memoryview(data)[HEADER:]
        self._left = MAX_BYTES

    def variable(self, wanted: str) -> Any:
        """Value of the first variable of that name."""
        for element in self._elements(self._data):
            if element.kind == COMPRESSED:
                element = self._inflated(element)
            if element.kind == MATRIX:
                name, value = self._matrix(element.data, 0, wanted)
                if name == wanted:
                    return value
        raise _BrokenError("it has no such variable")

    def _inflated(self, element: _Element) -> _Element:
        inflater = zlib.decompressobj()
        data = inflater.decompress(element.data, self._left)
        if not inflater.eof:
            raise _BrokenError("a compressed part is cut off or too large")
        self._left -= len(data)
        return next(self._elements(memoryview(data)), _Element(0, memoryview(b"")))

    def _elements(self, data: memoryview) -> Iterator[_Element]:
        """Parts one after the other: a kind, a length, and so many bytes, filled up to whole eights."""
        place = 0
        while place + 8 <= len(data):
            kind, size = struct.unpack_from(f"{self._order}II", data, place)
            start, room = place + 8, len(data) - place - 8
            if kind >> 16:  # short: at most four bytes, in the place of the length
                kind, size, start, room = kind & 0xFFFF, kind >> 16, place + 4, 4
            if size > room:
                raise _BrokenError("a part is longer than the file")
            end = max(place + 8, start + size + (-size % 8 if kind != COMPRESSED and start == place + 8 else 0))
            yield _Element(kind, data[start : start + size])
            place = end

    def _matrix(self, data: memoryview, depth: int, wanted: str | None = None) -> tuple[str, Any]:
        """Name and value of an array. Of a variable that is not `wanted`, the value is not read."""
        if depth > MAX_DEPTH:
            raise _BrokenError("structures are nested too deep")
        if not len(data):
            return "", None
        parts = self._elements(data)
        flags, shape, name = (next(parts, None) for _ in range(3))
        if flags is None or shape is None or name is None or len(flags.data) != 8:
            raise _BrokenError("an array has no header")
        (bits,) = struct.unpack_from(f"{self._order}I", flags.data)
        sides = [int(side) for side in self._numbers(shape)]
        called = bytes(name.data).decode("latin-1")
        if min(sides, default=-1) < 0 or len(sides) < 2:
            raise _BrokenError("an array has no size")
        if wanted is not None and called != wanted:
            return called, None
        return called, self._value(bits & 0xFF, bits >> 8, sides, parts, depth)

    def _value(self, kind: int, flags: int, sides: list[int], parts: Iterator[_Element], depth: int) -> Any:
        if kind == STRUCT:
            return self._struct(math.prod(sides), parts, depth)
        part = next(parts, None)
        if kind == CHAR and not math.prod(sides):
            return ""
        if part is None or flags & COMPLEX or (kind == CHAR and sides[0] != 1):
            return None
        if kind == CHAR:
            if part.kind not in TEXTS:
                raise _BrokenError("a text is of no known encoding")
            return bytes(part.data).decode(self._text_encoding(part.kind))
        if kind not in NUMERIC:
            return None
        numbers = self._numbers(part)
        if len(numbers) != math.prod(sides):
            raise _BrokenError("an array has another size than its numbers")
        return numbers.reshape(sides, order="F")

    def _struct(self, count: int, parts: Iterator[_Element], depth: int) -> Struct:
        length, names = next(parts, None), next(parts, None)
        if length is None or names is None:
            raise _BrokenError("a structure has no fields")
        (width,) = self._numbers(length).tolist()[:1] or [0]
        if not 0 < width <= 64 or len(names.data) % width:
            raise _BrokenError("a structure's fields have no names")
        raw = bytes(names.data)
        fields = [raw[start : start + width].split(b"\0")[0].decode("latin-1") for start in range(0, len(raw), width)]
        found = Struct({field: [] for field in fields})
        if len(found) < len(fields):
            raise _BrokenError("a structure has two fields of one name")
        for number, part in enumerate(parts):
            if part.kind != MATRIX or not fields:
                raise _BrokenError("a structure holds what is no array")
            found[fields[number % len(fields)]].append(self._matrix(part.data, depth + 1)[1])
        if any(len(values) != count for values in found.values()):
            raise _BrokenError("a structure has fewer or more values than its size says")
        return found

    def _numbers(self, part: _Element) -> NDArray[Any]:
        if part.kind not in NUMBERS:
            raise _BrokenError("an array holds no numbers")
        dtype = np.dtype(self._order + NUMBERS[part.kind])
        if len(part.data) % dtype.itemsize:
            raise _BrokenError("an array's numbers are cut off")
        return np.frombuffer(part.data, dtype)

    def _text_encoding(self, kind: int) -> str:
        encoding = TEXTS[kind]
        little = "-le" if self._order == "<" else "-be"
        return encoding + little if encoding in ("utf-16", "utf-32") else encoding
