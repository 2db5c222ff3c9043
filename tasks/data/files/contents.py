"""Contents of files that others made: of regular files only, as bytes, text or JSON. Each failure is one InputError."""

from __future__ import annotations

import json
import os
import reprlib
import stat
from typing import TYPE_CHECKING, Any

from backbone.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable
    from io import FileIO
    from pathlib import Path

MAX_IMAGE_BYTES = 2 << 30
"""More than the largest image that is decoded takes without compression."""
MAX_NOTE_BYTES = 64 << 20
"""Largest file that describes one image or one split in words: lists, XML, tables of classes."""
NONBLOCK = getattr(os, "O_NONBLOCK", 0)


def open_regular(path: str | Path) -> FileIO:
    """Open a file for reading; a pipe would let one wait for ever, and a device has no end.

    Raises:
        OSError: it cannot be opened, or is no regular file.
    """
    file = open(path, "rb", buffering=0, opener=_without_waiting)  # noqa: SIM115 - of every image of every epoch
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(None, "is no regular file")
    return file


def read_bytes(path: str | Path, remedy: str, most: int = MAX_IMAGE_BYTES) -> bytes:
    """Contents of a file.

    Args:
        remedy: the end of the message.
        most: bytes that it may have.

    Raises:
        InputError: it cannot be read, is no regular file, or is larger.
    """
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            if size <= most:
                return file.read()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); {remedy}") from None
    except ValueError as error:  # NUL
        raise InputError(f"{str(path)!r}: is no path ({error}); {remedy}") from None
    raise InputError(f"{path}: has {size} bytes, and at most {most} are read; {remedy}")


def read_text(path: Path, remedy: str, most: int = MAX_NOTE_BYTES) -> str:
    """Text in UTF-8, or in what its byte order mark says.

    Raises:
        InputError: see `read_bytes`; or it is no such text.
    """
    data = read_bytes(path, remedy, most)
    encoding = bom_encoding(data) or "utf-8"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: is no text in {encoding.upper()} ({error.reason} at byte {error.start}); {remedy}"
        ) from None


def bom_encoding(data: bytes) -> str | None:
    """Encoding that a byte order mark says; None where there is none."""
    if data.startswith(b"\xef\xbb\xbf"):
        return "utf-8-sig"
    return "utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else None


def parse_json(data: str | bytes, change: Callable[[dict[str, Any]], Any] | None = None) -> Any:
    """Value of a JSON text.

    Args:
        change: called with every object as soon as it is read; what it gives takes its place.

    Raises:
        ValueError: it is none, or nested too deep to be read.
    """
    try:
        return json.loads(data, object_hook=change)
    except RecursionError:
        raise ValueError("lists or objects are nested too deep") from None


def shown(value: object) -> str:
    """A value from a file for a message, shortened where it is long."""
    return reprlib.repr(value)


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | NONBLOCK)
