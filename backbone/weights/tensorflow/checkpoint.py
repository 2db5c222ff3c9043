"""Checkpoints of TensorFlow 1 and 2, and the variables of SavedModels: an index, and shards of data.

The index says of each tensor its type, shape, shard, place and masked CRC-32C, which is compared. Variables that were
partitioned are joined. An object-based checkpoint (TensorFlow 2) keeps the names of variables in its object graph; a
variable that has none there is named by its path.

Reference: TensorFlow, core/protobuf (tensor_bundle, trackable_object_graph), core/util/saved_tensor_slice_util.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import torch

from backbone.errors import InputError
from backbone.weights.tensorflow.crc32c import crc32c, masked
from backbone.weights.tensorflow.prefix import INDEX
from backbone.weights.tensorflow.table import read_table
from backbone.wire import signed, varint, wire_fields

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

STRING = 7
DTYPES = {
    1: torch.float32,
    2: torch.float64,
    3: torch.int32,
    4: torch.uint8,
    5: torch.int16,
    6: torch.int8,
    8: torch.complex64,
    9: torch.int64,
    10: torch.bool,
    11: torch.int8,
    12: torch.uint8,
    13: torch.int32,
    14: torch.bfloat16,
    17: torch.uint16,
    18: torch.complex128,
    19: torch.float16,
    22: torch.uint32,
    23: torch.uint64,
}
"""By the number in types.proto; quantised ones as the integers they are."""
GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"
MAX_RANK = 8
WHOLE = -1
"""Length of a part that has all of a dimension."""


@dataclass(slots=True)
class Entry:
    """What the index says of a tensor. `slices`: start and length of each part along each dimension; `WHOLE` is all."""

    dtype: int = 0
    shape: list[int] = field(default_factory=list)
    shard: int = 0
    offset: int = 0
    size: int = 0
    checksum: int = 0
    slices: list[list[tuple[int, int]]] = field(default_factory=list)


def read_checkpoint(prefix: str) -> dict[str, Tensor]:
    """Tensors by name; those that hold texts are left out.

    Raises:
        InputError: a file is missing, cut short or damaged; a tensor is of a type that is not known.
    """
    file = Path(f"{prefix}{INDEX}")
    if not file.is_file():
        raise InputError(f"weights {prefix}: no such checkpoint: there is no {file.name}; copy the index with the data")
    with _Bundle(prefix, file) as bundle:
        names = bundle.object_names()
        tensors: dict[str, Tensor] = {}
        for key, entry in bundle.entries.items():
            if entry.dtype != STRING:
                tensors[names.get(key, key.removesuffix(VALUE))] = bundle.tensor(key, entry)
    if not tensors:
        raise InputError(f"weights {prefix}: the checkpoint holds no tensors")
    return tensors


class _Bundle:
    """The files of a checkpoint.

    Args:
        prefix: of their names.
        file: the index.
    """

    def __init__(self, prefix: str, file: Path) -> None:
        self.prefix, self.file = prefix, file
        self.opened: dict[int, BinaryIO] = {}
        table = read_table(file)
        try:
            header = dict(wire_fields(table.pop(b"", b"")))
            self.raw = {key: _entry(value) for key, value in table.items()}
            self.entries = {key.decode(): entry for key, entry in self.raw.items() if not key.startswith(b"\0")}
        except (ValueError, TypeError) as error:
            raise InputError(f"weights {file}: damaged ({error}); copy it again") from error
        self.shards = int(header.get(1, 1))
        if header.get(2, 0) != 0:
            raise InputError(f"weights {file}: was written on a big-endian machine; write it again on a usual one")

    def __enter__(self) -> _Bundle:
        return self

    def __exit__(self, *_: object) -> None:
        for stream in self.opened.values():
            stream.close()

    def tensor(self, name: str, entry: Entry) -> Tensor:
        """The value of an entry, joined of its slices if it has some."""
        dtype = DTYPES.get(entry.dtype)
        if dtype is None:
            raise InputError(f"weights {self.file}: {name} is of type {entry.dtype} of types.proto, which is not read")
        if not entry.slices:
            if entry.size != math.prod(entry.shape) * dtype.itemsize:
                raise InputError(
                    f"weights {self.file}: damaged: {name} has {entry.size} bytes for shape {entry.shape}; copy it"
                    " again"
                )
            content = bytearray(self.content(name, entry))
            flat = torch.frombuffer(content, dtype=dtype) if content else torch.empty(0, dtype=dtype)
            return flat.view(entry.shape)
        parts = [self.raw.get(slice_key(name, extents)) for extents in entry.slices]
        for extents, part in zip(entry.slices, parts, strict=True):
            if part is None or part.slices or part.dtype != entry.dtype or len(extents) != len(entry.shape):
                raise InputError(f"weights {self.file}: damaged: {name} lacks the part {extents}; copy it again")
        if sum(part.size for part in parts if part) != math.prod(entry.shape) * dtype.itemsize:
            raise InputError(f"weights {self.file}: damaged: the parts of {name} are not all of it; copy it again")
        whole = torch.zeros(entry.shape, dtype=dtype)
        for extents, part in zip(entry.slices, parts, strict=True):
            assert part is not None
            place = tuple(slice(start, start + length if length != WHOLE else None) for start, length in extents)
            value = self.tensor(name, part)
            if whole[place].shape != value.shape:
                raise InputError(f"weights {self.file}: damaged: a part of {name} has another shape; copy it again")
            whole[place] = value
        return whole

    def content(self, name: str, entry: Entry) -> bytes:
        """Bytes of an entry, whose checksum is right."""
        content = self._read(name, entry)
        if masked(crc32c(content)) != entry.checksum:
            raise InputError(
                f"weights {self.shard_file(entry.shard)}: damaged: the checksum of {name} at byte {entry.offset} is"
                " wrong; copy it again"
            )
        return content

    def _read(self, name: str, entry: Entry) -> bytes:
        file = self.shard_file(entry.shard)
        if entry.shard not in self.opened:
            try:
                self.opened[entry.shard] = file.open("rb")
            except OSError:
                raise InputError(
                    f"weights {self.prefix}: shard {file.name} is missing, which holds {name}; the checkpoint has"
                    f" {self.shards} of them"
                ) from None
        stream = self.opened[entry.shard]
        end = stream.seek(0, 2)
        if entry.offset + entry.size > end:
            raise InputError(
                f"weights {file}: cut short: {name} ends at byte {entry.offset + entry.size}, the file at {end};"
                " copy it again"
            )
        stream.seek(entry.offset)
        return stream.read(entry.size)

    def shard_file(self, shard: int) -> Path:
        return Path(f"{self.prefix}.data-{shard:05d}-of-{self.shards:05d}")

    def object_names(self) -> dict[str, str]:
        """By the key of a checkpoint, the name that its object graph gives a variable."""
        entry = self.entries.get(GRAPH)
        if entry is None:
            return {}
        content = self._read(GRAPH, entry)
        try:
            length, place = varint(content, 0)
            graph = content[place + 4 : place + 4 + length]  # behind the lengths there is their checksum
            named = list(_named_keys(graph))
        except (ValueError, TypeError) as error:
            raise InputError(f"weights {self.file}: its object graph is damaged ({error}); copy it again") from error
        counts = Counter(name for _, name in named)
        return {key: name for key, name in named if counts[name] == 1}


def _named_keys(graph: bytes) -> Iterator[tuple[str, str]]:
    """Key and name of every variable of a TrackableObjectGraph that has a name."""
    for number, node in wire_fields(graph):
        if number != 1:
            continue
        for part, attribute in wire_fields(_bytes(node)):
            if part == 2:
                texts = dict(wire_fields(_bytes(attribute)))
                name, key = (_bytes(texts.get(which, b"")).decode() for which in (2, 3))
                if name and key:
                    yield key, name


def _entry(message: bytes) -> Entry:
    entry = Entry()
    for number, value in wire_fields(message):
        match number:
            case 1:
                entry.dtype = _number(value)
            case 2:
                entry.shape = [_number(dim.get(1, 0)) for dim in _messages(value, 2)]
            case 3:
                entry.shard = _number(value)
            case 4:
                entry.offset = _number(value)
            case 5:
                entry.size = _number(value)
            case 6:
                entry.checksum = _number(value)
            case 7:
                extents = _messages(value, 1)
                entry.slices.append(
                    [(_number(one.get(1, 0)), _number(one[2]) if 2 in one else WHOLE) for one in extents]
                )
    if min(entry.shard, entry.offset, entry.size, *entry.shape, 0) < 0 or len(entry.shape) > MAX_RANK:
        raise ValueError("an entry has a negative number or too many dimensions")
    return entry


def _messages(value: int | bytes, number: int) -> list[dict[int, int | bytes]]:
    """The messages that a field of a message holds, each as a dictionary."""
    return [dict(wire_fields(_bytes(part))) for which, part in wire_fields(_bytes(value)) if which == number]


def _number(value: int | bytes) -> int:
    if isinstance(value, bytes):
        raise TypeError("text in place of a number")
    return signed(value)


def _bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise TypeError("a number in place of a message")
    return value


def slice_key(name: str, extents: list[tuple[int, int]]) -> bytes:
    """Key of a part of a partitioned variable: 0, name, rank, then start and length of each dimension, so that the
    order of bytes is that of the values."""
    text = name.encode().replace(b"\x00", b"\x00\xff")
    rank = bytes([len(extents)])
    numbers = b"".join(_ordered(number) for extent in extents for number in extent)
    return b"\x00" + text + b"\x00\x01" + b"\x01" + rank + numbers


def _ordered(value: int) -> bytes:
    """A signed number so that the order of bytes is that of the numbers: as many leading ones as bytes, then bits."""
    length = (value if value >= 0 else ~value).bit_length() // 7 + 1
    sign = 0 if value >= 0 else 0xFF
    plain = bytes([sign, sign]) + value.to_bytes(8, "big", signed=True)
    coded = bytearray(plain[len(plain) - length :])
    ones = ((1 << length) - 1) << (16 - length)
    coded[0] ^= ones >> 8
    if length > 1:
        coded[1] ^= ones & 0xFF
    return bytes(coded)
