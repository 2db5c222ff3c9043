"""Writes tar shards: each whole or not at all, the same bytes for the same contents, its SHA-256 on the way."""

from __future__ import annotations

import errno
import hashlib
import io
import tarfile
from typing import TYPE_CHECKING, BinaryIO

from backbone.disk import UnwritableError, whole_file
from backbone.errors import InputError
from tasks.data.files.images import read_bytes
from tasks.data.formats.shards.manifest import Shard

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tasks.commands.pack.contents import Item


def write_shard(path: Path, items: Sequence[Item], advance: Callable[[int], object]) -> Shard:
    """Copy images byte for byte, each with its label.

    Args:
        advance: called with the number of bytes written since.

    Raises:
        InputError: an image cannot be read or changed meanwhile, the disk is full, or the folder cannot be written.
    """
    try:
        with whole_file(path, durable=True) as part, part.open("wb") as file:
            sink = _Hashing(file)
            with tarfile.open(fileobj=sink, mode="w|", format=tarfile.USTAR_FORMAT) as tar:
                for item in items:
                    data = read_bytes(item.image)
                    if len(data) != item.length:
                        raise InputError(f"{item.image}: changed while it was packed; start again with the same words")
                    _add(tar, f"{item.key}.{item.suffix}", data)
                    _add(tar, f"{item.key}.{item.label_suffix}", item.label)
                    advance(item.packed_bytes)
    except UnwritableError as error:
        what = "the disk is full; free some space" if error.errno in (errno.ENOSPC, errno.EDQUOT) else error.strerror
        raise InputError(
            f"{path}: cannot be written: {what}; the shards before it are whole: the same words go on with this one"
        ) from error
    return Shard(name=path.name, bytes=sink.bytes, samples=len(items), sha256=sink.digest.hexdigest())


class _Hashing(io.RawIOBase):
    """Hands on what is written, counted and hashed."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.bytes = 0
        self.digest = hashlib.sha256()

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self._file.write(data)
        self.bytes += len(data)
        self.digest.update(data)
        return len(data)


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)  # owner and time stay 0, so that the same data makes the same file
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))
