"""Files that are either whole or known to be damaged.

Layout: 8 bytes `TRIDENT1`, the SHA-256 of all that follows (32 bytes), the length of the notes (8 bytes,
little-endian), the notes (JSON: plain data about the content, and under `bytes` its length), the content
(`torch.save`).
"""

from __future__ import annotations

import hashlib
import io
import json
from typing import TYPE_CHECKING, Any

import torch

from backbone.disk import whole_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MAGIC = b"TRIDENT1"
DIGEST = 32
LENGTH = 8
START = len(MAGIC) + DIGEST + LENGTH


class DamagedFileError(Exception):
    """A file is not what was written; the message says how that shows."""


def write(path: Path, content: Mapping[str, Any], notes: Mapping[str, Any]) -> int:
    """Write a checkpoint, whole or not at all, and wait until it is on the disk.

    Args:
        content: plain data and tensors.
        notes: plain data that `read_notes` gives without reading the rest.
    Returns:
        The size in bytes.
    Raises:
        UnwritableError: the disk is full, or the like. What was at `path` stays.
    """
    buffer = io.BytesIO()
    torch.save(dict(content), buffer)
    payload = buffer.getbuffer()
    said = json.dumps({**notes, "bytes": len(payload)}).encode()
    length = len(said).to_bytes(LENGTH, "little")
    digest = hashlib.sha256(length)
    digest.update(said)
    digest.update(payload)
    with whole_file(path, durable=True) as part, part.open("wb") as file:
        for piece in (MAGIC, digest.digest(), length, said, payload):
            file.write(piece)
    return START + len(said) + len(payload)


def read(path: Path) -> dict[str, Any]:
    """The content. Only plain data and tensors are read: nothing is ever unpickled.

    Raises:
        DamagedFileError: cut short, changed, or something else, even where its checksum fits.
    """
    try:
        data = memoryview(path.read_bytes())
    except OSError as error:
        raise DamagedFileError(f"cannot be read ({error.strerror})") from error
    length = _start(bytes(data[:START]))
    said = bytes(data[START : START + length])
    if len(said) < length:
        raise DamagedFileError("is cut short")
    payload = data[START + length :]
    if hashlib.sha256(data[START - LENGTH :]).digest() != bytes(data[len(MAGIC) : len(MAGIC) + DIGEST]):
        whole = _notes(said).get("bytes")
        if isinstance(whole, int) and len(payload) < whole:
            raise DamagedFileError(f"is cut short: it has {len(payload)} of {whole} bytes")
        raise DamagedFileError("is damaged: its checksum does not fit")
    try:
        content = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
    except Exception as error:  # a checksum proves nothing: whoever writes a file can make one
        raise DamagedFileError(f"holds more than plain data and tensors ({type(error).__name__})") from error
    if not isinstance(content, dict):
        raise DamagedFileError("holds no table")
    return content


def read_notes(path: Path) -> dict[str, Any]:
    """The notes alone, unverified; empty if they cannot be read."""
    try:
        with path.open("rb") as file:
            return _notes(file.read(_start(file.read(START))))
    except (OSError, DamagedFileError):
        return {}


def _start(start: bytes) -> int:
    if len(start) < START and MAGIC.startswith(start[: len(MAGIC)]):
        raise DamagedFileError("is cut short")
    if not start.startswith(MAGIC):
        raise DamagedFileError("is no checkpoint to go on from")
    return int.from_bytes(start[-LENGTH:], "little")


def _notes(said: bytes) -> dict[str, Any]:
    try:
        notes = json.loads(said)
    except (ValueError, RecursionError):
        return {}
    return notes if isinstance(notes, dict) else {}
