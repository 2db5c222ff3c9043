"""CRC-32C of a block of bytes, many lanes at once: 100 MB take about a second in NumPy.

A checksum without initial value is linear: that of A followed by B is that of A, moved on by the length of B, xor that
of B. So a block is cut into lanes of equal length, which are computed side by side and joined in pairs.

Reference: RFC 3720, appendix B.4 (polynomial and test values); the mask is that of LevelDB's log format.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Words = NDArray[np.uint32]

POLYNOMIAL = 0x82F63B78
ALL = 0xFFFFFFFF
MASK_DELTA = 0xA282EAD8
BLOCK_BYTES = 1 << 22
LANE_BYTES = 1024
SHORT_LANE_BYTES = 64


def crc32c(data: bytes | memoryview) -> int:
    """CRC-32C of `data`."""
    state = np.array([ALL], np.uint32)
    view = memoryview(data)
    for start in range(0, len(view), BLOCK_BYTES):
        block = view[start : start + BLOCK_BYTES]
        for power in range(len(block).bit_length()):
            if len(block) >> power & 1:
                state = _moved(state, power)
        state = state ^ _of_block(block)
    return int(state[0]) ^ ALL


def _of_block(data: memoryview) -> np.uint32:
    """Checksum without initial value."""
    size = len(data)
    lane = LANE_BYTES if size > LANE_BYTES * SHORT_LANE_BYTES else SHORT_LANE_BYTES
    lanes = -(-size // lane)
    padded = np.zeros(lanes * lane, np.uint8)  # zeros in front leave a checksum without initial value as it is
    padded[len(padded) - size :] = np.frombuffer(data, np.uint8)
    table, state = _two_bytes(), np.zeros(lanes, np.uint32)
    for pair in np.ascontiguousarray(padded.view("<u2").reshape(lanes, -1).T):
        state = table[(state ^ pair) & 0xFFFF] ^ (state >> 16)
    power = lane.bit_length() - 1
    while len(state) > 1:
        if len(state) % 2:
            state = np.concatenate([np.zeros(1, np.uint32), state])
        state = _moved(state[::2], power) ^ state[1::2]
        power += 1
    checksum: np.uint32 = state[0]
    return checksum


def masked(crc: int) -> int:
    """A checksum as TensorFlow and LevelDB store it."""
    return (((crc >> 15) | (crc << 17)) + MASK_DELTA) & ALL


def _moved(state: Words, power: int) -> Words:
    """Checksums without initial value after 2 ** `power` more bytes of zero."""
    tables = _zeros(power)
    moved: Words = tables[0][state & 255]
    for part in (1, 2, 3):
        moved = moved ^ tables[part][(state >> 8 * part) & 255]
    return moved


@cache
def _bytes() -> Words:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = ((table >> 1) ^ np.where(table & 1, POLYNOMIAL, 0)).astype(np.uint32)
    return table


@cache
def _two_bytes() -> Words:
    table = np.arange(1 << 16, dtype=np.uint32)
    for _ in range(2):
        table = _bytes()[table & 255] ^ (table >> 8)
    return table


@cache
def _zeros(power: int) -> Words:
    """What 2 ** `power` bytes of zero make of each value of each of the four bytes of a checksum, (4, 256)."""
    values = (np.arange(256, dtype=np.uint32)[None] << (8 * np.arange(4, dtype=np.uint32))[:, None]).reshape(-1)
    once = _bytes()[values & 255] ^ (values >> 8) if power == 0 else _moved(_moved(values, power - 1), power - 1)
    tables: Words = once.reshape(4, 256)
    return tables
