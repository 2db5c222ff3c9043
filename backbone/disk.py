"""Files on disk: written whole or not at all, room for them, their hashes. Standard library only."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import shutil
from typing import TYPE_CHECKING, TypeAlias

from backbone.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


Progress: TypeAlias = "Callable[[str, int, int | None], None]"
"""Called with what is done (`downloading` or `checking`), the bytes done so far and those of the whole, if known."""


def digest_of(path: Path, algorithm: str = "sha256", progress: Progress | None = None) -> str:
    """Hash of a file's contents, in hexadecimal."""
    digest, done = hashlib.new(algorithm, usedforsecurity=False), 0
    total = path.stat().st_size
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
            done += len(block)
            if progress is not None:
                progress("checking", done, total)
    return digest.hexdigest()


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns what the file system raises into one line."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise InputError(f"{path}: the disk is full; free some space and run again to go on") from None
        raise InputError(
            f"{path}: cannot be written ({error.strerror or error}); choose a folder that you may write to"
        ) from None


def check_space(folder: Path, needed: int) -> None:
    """See that the disk of `folder`, or of its nearest parent that exists, has room for `needed` bytes.

    Raises:
        InputError: it has not; both figures are given.
    """
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise InputError(
            f"{folder}: the disk has {free / 1e9:.2f} GB free and {needed / 1e9:.2f} GB are needed; free some "
            f"space and run again to go on"
        )
