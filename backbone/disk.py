"""Files on disk: written whole or not at all, room for them, their hashes. Standard library only."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
from typing import TYPE_CHECKING, TypeAlias

from backbone.errors import InputError, printable

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


class UnwritableError(InputError, OSError):
    """A file that cannot be written, in one line; an OSError too, for those who can do without the file."""

    def __init__(self, message: str, cause: OSError) -> None:
        super().__init__(message)
        self.errno, self.strerror = cause.errno, cause.strerror

    def __str__(self) -> str:
        return printable(str(self.args[0]))


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what the file system raises into one line.

    Raises:
        UnwritableError: the disk is full, or `path` may not be written.
    """
    try:
        yield
    except UnwritableError:
        raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            message = f"{path}: the disk is full; free some space and run again to go on"
        else:
            message = f"{path}: cannot be written ({error.strerror or error}); choose a folder that you may write to"
        raise UnwritableError(message, error) from None


@contextlib.contextmanager
def whole_file(path: Path, *, durable: bool = False) -> Iterator[Path]:
    """Write a file that others see whole or not at all: at `path` there is what was there before, or all of it.

    Any number of processes may write the same file; the last one to finish is kept.

    Args:
        durable: wait until it is on the disk, so that it outlives a loss of power.
    Yields:
        Where to write meanwhile, in the same folder.
    Raises:
        UnwritableError: the disk is full, or the folder may not be written; nothing is left behind.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with writing(path):
            yield part
            if durable:
                sync(part)
            part.replace(path)
            if durable and os.name == "posix":
                sync(path.parent)
    finally:
        with contextlib.suppress(OSError):  # no folder, no file
            part.unlink(missing_ok=True)


def write_whole(path: Path, content: str | bytes, *, durable: bool = False) -> None:
    """Write text (UTF-8) or bytes by `whole_file`. What Unicode cannot say, as of a file's name, comes as `\\udcff`."""
    data = content.encode(errors="backslashreplace") if isinstance(content, str) else content
    with whole_file(path, durable=durable) as part:
        part.write_bytes(data)


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


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
