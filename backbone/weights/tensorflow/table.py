"""Sorted tables of LevelDB's format, in which TensorFlow keeps the index of a checkpoint.

A file is blocks, each followed by its kind (0: not compressed) and a masked CRC-32C, then a footer that names the block
of the index, whose entries name the blocks of data. Keys share their beginnings with those before.

Reference: LevelDB, doc/table_format.md; TensorFlow, core/lib/io/format.h.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from backbone.errors import InputError
from backbone.weights.tensorflow.crc32c import crc32c, masked
from backbone.wire import varint

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MAGIC = 0xDB4775248B80FB57
FOOTER_BYTES = 48
TRAILER_BYTES = 5
"""Behind each block: its kind and its checksum."""
MAX_BYTES = 1 << 28
"""Largest index that is read: a hundred million parameters in a thousand tensors need a tenth of a megabyte."""


def read_table(file: Path) -> dict[bytes, bytes]:
    """Entries of a table, in the order of their keys.

    Raises:
        InputError: it is no such table, cut short, damaged, or compressed.
    """
    try:
        if file.stat().st_size > MAX_BYTES:
            raise InputError(f"weights {file}: is larger than any index of a checkpoint; give the .index file")
        content = file.read_bytes()
    except OSError as error:
        raise InputError(f"weights {file}: cannot be read ({error.strerror or error})") from None
    if len(content) < FOOTER_BYTES or int.from_bytes(content[-8:], "little") != MAGIC:
        raise InputError(
            f"weights {file}: is no index of a TensorFlow checkpoint, or cut short: its last bytes are not a table's;"
            " copy it again"
        )
    try:
        footer = content[-FOOTER_BYTES:]
        other, place = _handle(footer, 0)
        index, _ = _handle(footer, place)
        _block(content, *other, file)  # holds nothing, but is part of the file
        entries: dict[bytes, bytes] = {}
        for _, handle in _entries(_block(content, *index, file)):
            entries.update(_entries(_block(content, *_handle(handle, 0)[0], file)))
    except (ValueError, IndexError) as error:
        raise InputError(f"weights {file}: damaged ({error}); copy it again") from error
    return entries


def _handle(message: bytes, place: int) -> tuple[tuple[int, int], int]:
    """Offset and size of a block, and the place behind them."""
    offset, place = varint(message, place)
    size, place = varint(message, place)
    return (offset, size), place


def _block(content: bytes, offset: int, size: int, file: Path) -> bytes:
    """A block whose checksum is right."""
    end = offset + size + TRAILER_BYTES
    if end > len(content):
        raise ValueError("a block lies behind its end")
    stored = int.from_bytes(content[end - 4 : end], "little")
    if stored != masked(crc32c(content[offset : end - 4])):
        raise InputError(f"weights {file}: damaged: the checksum of a block at byte {offset} is wrong; copy it again")
    if kind := content[end - TRAILER_BYTES]:
        raise InputError(f"weights {file}: has compressed blocks (kind {kind}), which no checkpoint of TensorFlow has")
    return content[offset : offset + size]


def _entries(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of a block: each key as the length that it shares with the last one, and the rest."""
    restarts = int.from_bytes(block[-4:], "little")
    end = len(block) - 4 * (restarts + 1)
    if end < 0:
        raise ValueError("a block has no end")
    place, key = 0, b""
    while place < end:
        shared, place = varint(block, place)
        fresh, place = varint(block, place)
        length, place = varint(block, place)
        if shared > len(key) or place + fresh + length > end:
            raise ValueError("an entry lies behind the end of its block")
        key = key[:shared] + block[place : place + fresh]
        place += fresh
        yield key, block[place : place + length]
        place += length
