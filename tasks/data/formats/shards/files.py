"""The files of a split in tar shards, read at any place: each is a range of bytes of a shard. Shapes: N files."""

from __future__ import annotations

import os
from bisect import bisect_right
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import numpy as np

from backbone.errors import InputError
from tasks.data.checks import check_index
from tasks.data.files.contents import open_regular
from tasks.data.files.images import REMEDY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Ranges: TypeAlias = tuple[Path, NDArray[np.bytes_], NDArray[np.int64], NDArray[np.int64]]

Kind = TypeVar("Kind", bound=np.generic)


class ShardFiles:
    """Files of several shards, in their order. A few arrays, shared with worker processes.

    Args:
        shards: of each its path, and of its files names (UTF-8), first bytes and lengths.
    """

    def __init__(self, shards: Sequence[Ranges]) -> None:
        self._paths = [os.fspath(path) for path, *_ in shards]
        self._starts = [0, *accumulate(len(names) for _, names, _, _ in shards)]
        self._names = joined([names for _, names, _, _ in shards], np.bytes_)
        self._offsets = joined([offsets for _, _, offsets, _ in shards], np.int64)
        self._lengths = joined([lengths for _, _, _, lengths in shards], np.int64)

    def __len__(self) -> int:
        return len(self._offsets)

    def path(self, index: int) -> Path:
        """Path of the shard, and below it the name within: no file that could be opened, but a name for messages."""
        return Path(self._shard(index), self._names[index].decode())

    def read(self, index: int) -> bytes:
        """The contents of a file.

        Raises:
            InputError: the shard cannot be read or was cut off.
        """
        shard, length = self._shard(index), int(self._lengths[index])
        try:
            with open_regular(shard) as file:
                file.seek(int(self._offsets[index]))
                data = file.read(length)
        except OSError as error:
            raise InputError(f"{shard}: cannot be read ({error.strerror}); {REMEDY}") from error
        if len(data) < length:
            raise InputError(f"{self.path(index)}: {length - len(data)} bytes are missing; the shard was cut off since")
        return data

    def _shard(self, index: int) -> str:
        check_index(index, len(self))
        return self._paths[bisect_right(self._starts, index) - 1]


def joined(parts: Sequence[NDArray[Any]], dtype: type[Kind]) -> NDArray[Kind]:
    """One after the other; also none."""
    return np.concatenate(parts) if parts else np.zeros(0, dtype=dtype)
