"""The header of a safetensors file: what tensors it holds and what it says of itself. Standard library only.

The one reader of such headers, as strict as the library that reads the tensors (format:
https://github.com/huggingface/safetensors#format), and in one line where that is not kept to.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

from backbone.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import BinaryIO

MAX_HEADER = 10_000_000
"""Bytes; the library takes ten times as many, of which hostile ones would fill gigabytes of memory."""
MAX_SIDES = 64
"""Dimensions of a tensor, at most."""
MAX_NAMED = 60
"""Letters of a tensor's name that a message shows."""
METADATA = "__metadata__"
CHECKSUM = "trident_sha256"
"""Key of the metadata: SHA-256 of what the file means, for files that `seal` has seen."""
UNSEALED = "unsealed".ljust(64, "_")
BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32,
    "U32": 32, "F32": 32, "C64": 64, "F64": 64, "I64": 64, "U64": 64,
}  # fmt: skip
"""Size of a value of each type that torch has."""
REMEDY = "copy or get it again"


@dataclass(frozen=True, slots=True)
class TensorEntry:
    """One tensor: type, shape, and the bytes of the data section that it takes, `start` to `end`."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class TensorFile:
    """What the header says. `data_start`: bytes before the data section."""

    tensors: Mapping[str, TensorEntry]
    metadata: Mapping[str, str]
    data_start: int


class _BrokenError(Exception):
    """What is wrong with a header."""


def read_tensor_file(path: str | Path) -> TensorFile:
    """The header of a safetensors file.

    Raises:
        InputError: there is no such regular file, or it is damaged, cut short or of another kind.
    """
    file = Path(path)
    try:
        if not file.is_file():
            raise InputError(f"{file}: no such file")
        with file.open("rb") as content:
            return _read(content, os.fstat(content.fileno()).st_size)
    except _BrokenError as error:
        raise InputError(f"{file}: is no safetensors file, or is damaged ({error}); {REMEDY}") from None
    except InputError:
        raise
    except (OSError, ValueError) as error:  # a name that no file can have, a file that may not be read
        raise InputError(f"{str(file)[:MAX_NAMED]}: cannot be read ({error})") from None


def _read(content: BinaryIO, size: int) -> TensorFile:
    start = content.read(8)
    length = int.from_bytes(start, "little")
    if len(start) < 8 or not 1 < length <= MAX_HEADER:
        raise _BrokenError("its header has no length that it could have")
    text = content.read(length)
    if len(text) < length:
        raise _BrokenError("it is cut short in its header")
    try:
        found = json.loads(text.decode(), object_pairs_hook=_once)
    except RecursionError:
        raise _BrokenError("its header is nested too deep") from None
    except ValueError as error:
        raise _BrokenError(f"its header is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise _BrokenError("its header is no table")
    metadata = found.pop(METADATA, None)
    metadata = {} if metadata is None else metadata
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise _BrokenError("its metadata is no table of texts")
    tensors = {name: _entry(name, plain) for name, plain in found.items()}
    end = 0
    for name, entry in sorted(tensors.items(), key=lambda one: (one[1].start, one[1].end)):
        if entry.start != end:
            raise _BrokenError(f"tensor {name[:MAX_NAMED]} does not begin where another ends")
        end = entry.end
    if size != 8 + length + end:
        raise _BrokenError(
            f"it has {size} bytes, and its header tells of {8 + length + end}: it is cut short or longer"
        )
    return TensorFile(tensors=tensors, metadata=metadata, data_start=8 + length)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A table of which no key comes twice, and whose keys and values Unicode has."""
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("a key comes twice")
    for key, value in pairs:
        key.encode()
        if isinstance(value, str):
            value.encode()
    return table


def _entry(name: str, plain: Any) -> TensorEntry:
    """A tensor's part of the header.

    Raises:
        _BrokenError: it is none, or its sizes contradict each other.
    """
    shown = f"tensor {name[:MAX_NAMED]}"
    if not isinstance(plain, dict):
        raise _BrokenError(f"{shown} is no table")
    dtype, shape, offsets = plain.get("dtype"), plain.get("shape"), plain.get("data_offsets")
    if not isinstance(dtype, str) or dtype not in BITS:
        raise _BrokenError(f"{shown} is of type {str(dtype)[:MAX_NAMED]}, which is not known")
    if not (_are_sizes(shape) and _are_sizes(offsets) and len(offsets) == 2):
        raise _BrokenError(f"{shown} has no shape or no place")
    start, end = offsets
    if start > end or prod(shape) * BITS[dtype] != (end - start) * 8:
        raise _BrokenError(f"{shown} takes other bytes than its type and shape need")
    return TensorEntry(dtype, tuple(shape), start, end)


def _are_sizes(value: Any) -> TypeGuard[list[int]]:
    return (
        isinstance(value, list)
        and len(value) <= MAX_SIDES
        and all(type(one) is int and 0 <= one < 1 << 63 for one in value)
    )


def seal(path: Path) -> None:
    """Put its checksum into a file that was written with `UNSEALED` in its place."""
    header = read_tensor_file(path)
    found = _checksum_of(path, header)
    with path.open("r+b") as content:
        text = content.read(header.data_start)
        place = text.index(f'"{UNSEALED}"'.encode()) + 1
        content.seek(place)
        content.write(found.encode())


def check_seal(path: str | Path) -> None:
    """That a file which has a checksum is what was written; others are passed over.

    Raises:
        InputError: it is not, or its header is damaged.
    """
    header = read_tensor_file(path)
    if CHECKSUM in header.metadata and header.metadata[CHECKSUM] != _checksum_of(Path(path), header):
        raise InputError(f"{path}: is damaged: its contents are not those that were written; {REMEDY}")


def _checksum_of(path: Path, header: TensorFile) -> str:
    """SHA-256 of everything that a file means: its texts, and names, types, shapes and bytes of its tensors."""
    texts = {key: text for key, text in header.metadata.items() if key != CHECKSUM}
    entries = sorted((name, entry.dtype, entry.shape, entry.start) for name, entry in header.tensors.items())
    found = hashlib.sha256(json.dumps([texts, entries], sort_keys=True).encode())
    with path.open("rb") as content:
        content.seek(header.data_start)
        while block := content.read(1 << 20):
            found.update(block)
    return found.hexdigest()
