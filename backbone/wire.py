"""Fields of a protocol buffer, without its schema. Standard library only.

Reference: https://protobuf.dev/programming-guides/encoding/.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
"""Wire types."""
MAX_SHIFT = 63
SIGN = 1 << 63


def varint(message: bytes, place: int) -> tuple[int, int]:
    """The unsigned number at `place`, and the place behind it.

    Raises:
        ValueError: the message ends before it does, or it has more than 64 bits.
    """
    value = shift = 0
    while True:
        if place >= len(message) or shift > MAX_SHIFT:
            raise ValueError("it ends in the middle")
        byte = message[place]
        place += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, place


def wire_fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Number and content of each field: bytes of what has a length, else an unsigned integer of its bits.

    Raises:
        ValueError: it ends in the middle of a field, or is no such message.
    """
    place = 0
    while place < len(message):
        key, place = varint(message, place)
        number, wire = divmod(key, 8)
        if wire == VARINT:
            value, place = varint(message, place)
            yield number, value
            continue
        if wire not in (FIXED64, LENGTH, FIXED32):
            raise ValueError("it is no such file")
        if wire == LENGTH:
            length, place = varint(message, place)
        else:
            length = 8 if wire == FIXED64 else 4
        if place + length > len(message):
            raise ValueError("it ends in the middle")
        part = message[place : place + length]
        yield number, part if wire == LENGTH else int.from_bytes(part, "little")
        place += length


def signed(value: int) -> int:
    """The int64 whose bits an unsigned varint has."""
    return value - (SIGN << 1) if value & SIGN else value
