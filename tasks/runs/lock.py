"""One process at a time in a folder."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from backbone.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LOCK = ".lock"


@contextmanager
def held(folder: Path, refusal: str) -> Iterator[None]:
    """While this lasts no other process holds the folder, which must be there. A killed process has no hold.

    Raises:
        InputError: `refusal`, because another one does.
    """
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(blocking=False)
    except Timeout as error:
        raise InputError(refusal) from error
    try:
        yield
    finally:
        lock.release()
