"""Checkpoints of TensorFlow against a writer of their format, and against every flipped bit and cut of one.

The writer follows LevelDB's doc/table_format.md and TensorFlow's tensor_bundle.proto. Its checksum is taken bit by bit.
Reference for the checksum: RFC 3720, appendix B.4.
"""

from __future__ import annotations

import contextlib
import struct
from typing import TYPE_CHECKING

import pytest
import torch

from backbone.errors import InputError
from backbone.weights.tensorflow.checkpoint import read_checkpoint, slice_key
from backbone.weights.tensorflow.crc32c import crc32c
from backbone.weights.tensorflow.prefix import checkpoint_prefix

if TYPE_CHECKING:
    from pathlib import Path

FLOAT, STRING, INT64, BFLOAT16 = 1, 7, 9, 14
Entry = tuple[int, list[int], bytes]
"""Number of the type, shape, bytes."""


def slow_crc32c(data: bytes) -> int:
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
    return value ^ 0xFFFFFFFF


def masked(data: bytes) -> bytes:
    value = slow_crc32c(data)
    return struct.pack("<I", (((value >> 15) | (value << 17)) + 0xA282EAD8) & 0xFFFFFFFF)


def varint(value: int) -> bytes:
    coded = b""
    while value >= 128:
        coded += bytes([value & 127 | 128])
        value >>= 7
    return coded + bytes([value])


def field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def block(entries: list[tuple[bytes, bytes]], *, shares: bool = True) -> bytes:
    """Keys share their beginnings with those before; one restart point."""
    content, last = b"", b""
    for key, value in entries:
        shared = 0
        while shares and shared < min(len(key), len(last)) and key[shared] == last[shared]:
            shared += 1
        content += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        last = key
    return content + struct.pack("<II", 0, 1)


def table(entries: dict[bytes, bytes]) -> bytes:
    """Two blocks of data, one of the index."""
    items = sorted(entries.items())
    half = len(items) // 2
    content, index = b"", []
    for part in (items[:half], items[half:]):
        if part:
            data = block(part)
            index.append((part[-1][0], varint(len(content)) + varint(len(data))))
            content += data + b"\0" + masked(data + b"\0")
    handles = b""
    for data in (block([]), block(index, shares=False)):
        handles += varint(len(content)) + varint(len(data))
        content += data + b"\0" + masked(data + b"\0")
    return content + handles.ljust(40, b"\0") + struct.pack("<Q", 0xDB4775248B80FB57)


def entry(dtype: int, shape: list[int], content: bytes, shard: int, offset: int) -> bytes:
    dims = b"".join(field(2, field(1, side)) for side in shape)
    coded = field(1, dtype) + field(2, dims) + field(3, shard) + field(4, offset) + field(5, len(content))
    return coded + varint(6 << 3 | 5) + masked(content)


def write(prefix: Path, shards: list[dict[bytes, Entry]], more: dict[bytes, bytes] | None = None) -> str:
    entries = {b"": field(1, len(shards))} | (more or {})
    for number, tensors in enumerate(shards):
        data = b""
        for key, (dtype, shape, content) in tensors.items():
            entries[key] = entry(dtype, shape, content, number, len(data))
            data += content
        prefix.with_name(f"{prefix.name}.data-{number:05d}-of-{len(shards):05d}").write_bytes(data)
    prefix.with_name(f"{prefix.name}.index").write_bytes(table(entries))
    return str(prefix)


def floats(values: list[float], shape: list[int]) -> Entry:
    return FLOAT, shape, struct.pack(f"<{len(values)}f", *values)


@pytest.fixture
def prefix(tmp_path: Path) -> str:
    """Two shards with three tensors."""
    return write(
        tmp_path / "model.ckpt",
        [
            {b"net/conv/weights": floats([1, 2, 3, 4, 5, 6], [3, 2]), b"net/conv/biases": floats([0.5, -0.5], [2])},
            {b"step": (INT64, [], struct.pack("<q", -7))},
        ],
    )


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (b"123456789", 0xE3069283),
        (b"", 0),
    ],
)
def test_checksums_of_the_standard(data: bytes, wanted: int) -> None:
    assert crc32c(data) == wanted


@pytest.mark.parametrize("size", [1, 63, 64, 65, 4097, 70_001])
def test_checksums_of_many_lanes(size: int) -> None:
    data = torch.randint(0, 256, (size,), dtype=torch.uint8).numpy().tobytes()
    assert crc32c(data) == slow_crc32c(data)


def test_tensors_of_two_shards(prefix: str) -> None:
    tensors = read_checkpoint(prefix)
    assert set(tensors) == {"net/conv/weights", "net/conv/biases", "step"}
    assert tensors["net/conv/weights"].tolist() == [[1, 2], [3, 4], [5, 6]]
    assert tensors["step"].tolist() == -7
    assert tensors["step"].dtype == torch.int64


def test_a_checkpoint_has_several_names(prefix: str, tmp_path: Path) -> None:
    assert checkpoint_prefix(f"{prefix}.index") == prefix
    assert checkpoint_prefix(f"{prefix}.data-00000-of-00002") == prefix
    assert checkpoint_prefix(prefix) == prefix
    assert checkpoint_prefix(str(tmp_path / "model.pb")) is None
    (tmp_path / "saved" / "variables").mkdir(parents=True)
    (tmp_path / "saved" / "saved_model.pb").touch()
    assert checkpoint_prefix(str(tmp_path / "saved")) == str(tmp_path / "saved" / "variables" / "variables")


def test_a_partitioned_variable_is_joined(tmp_path: Path) -> None:
    """Keys as TensorFlow 2.20 wrote them, for parts of 4, 3 and 3 of 10 rows of 3."""
    assert slice_key("part/weights", [(0, 4), (0, 3)]) == b"\x00part/weights\x00\x01\x01\x02\x80\x84\x80\x83"
    assert slice_key("part/weights", [(7, 3), (0, 3)]) == b"\x00part/weights\x00\x01\x01\x02\x87\x83\x80\x83"
    parts = {slice_key("v", [(0, 100), (0, -1)]): floats([1.0] * 100, [100, 1])}
    parts[slice_key("v", [(100, 2), (0, -1)])] = floats([2, 3], [2, 1])
    slices = b"".join(
        field(7, field(1, field(1, start) + field(2, length)) + field(1, b"")) for start, length in ((0, 100), (100, 2))
    )
    whole = {b"v": field(1, FLOAT) + field(2, field(2, field(1, 102)) + field(2, field(1, 1))) + slices}
    prefix = write(tmp_path / "p", [parts], whole)
    assert read_checkpoint(prefix)["v"].flatten().tolist() == [1.0] * 100 + [2, 3]
    prefix = write(tmp_path / "q", [dict(list(parts.items())[:1])], whole)
    with pytest.raises(InputError, match="v lacks the part"):
        read_checkpoint(prefix)


def test_names_of_an_object_based_checkpoint(tmp_path: Path) -> None:
    """A variable has its own name if that is one variable's alone, else its path."""
    keys = {"a": "conv/kernel", "b": "Variable", "c": "Variable", "d": ""}
    graph = b""
    for key, name in keys.items():
        of_variable = field(2, name.encode()) + field(3, f"{key}/.ATTRIBUTES/VARIABLE_VALUE".encode())
        graph += field(1, field(2, field(1, b"VARIABLE_VALUE") + of_variable))
    tensors = {f"{key}/.ATTRIBUTES/VARIABLE_VALUE".encode(): floats([1], [1]) for key in keys}
    tensors[b"e/.ATTRIBUTES/VARIABLE_VALUE"] = (BFLOAT16, [2], b"\x80\x3f\x20\xc1")
    tensors[b"_CHECKPOINTABLE_OBJECT_GRAPH"] = (STRING, [], varint(len(graph)) + b"\0\0\0\0" + graph)
    read = read_checkpoint(write(tmp_path / "tf2-1", [tensors]))
    assert set(read) == {"conv/kernel", "b", "c", "d", "e"}
    assert read["e"].float().tolist() == [1.0, -10.0]


def test_every_flipped_bit_is_found(prefix: str, tmp_path: Path) -> None:
    """In either file; but for the filling of the footer."""
    whole = read_checkpoint(prefix)
    index = (tmp_path / "model.ckpt.index").read_bytes()
    missed = 0
    for name in ("model.ckpt.index", "model.ckpt.data-00000-of-00002", "model.ckpt.data-00001-of-00002"):
        file = tmp_path / name
        content = file.read_bytes()
        for place in range(len(content)):
            broken = bytearray(content)
            broken[place] ^= 1 << place % 8
            file.write_bytes(broken)
            with contextlib.suppress(InputError):
                read = read_checkpoint(prefix)
                assert name == "model.ckpt.index"
                assert place >= len(index) - 48, place
                assert all(torch.equal(read[key], value) for key, value in whole.items())
                missed += 1
        file.write_bytes(content)
    assert missed < 40


def test_every_cut_is_found(prefix: str, tmp_path: Path) -> None:
    for name in ("model.ckpt.index", "model.ckpt.data-00000-of-00002"):
        file = tmp_path / name
        content = file.read_bytes()
        for length in range(len(content)):
            file.write_bytes(content[:length])
            with pytest.raises(InputError, match=r"cut short|damaged"):
                read_checkpoint(prefix)
        file.write_bytes(content)


def test_a_missing_file_is_named(prefix: str, tmp_path: Path) -> None:
    (tmp_path / "model.ckpt.data-00001-of-00002").unlink()
    with pytest.raises(InputError, match=r"shard model.ckpt.data-00001-of-00002 is missing, which holds step"):
        read_checkpoint(prefix)
    (tmp_path / "model.ckpt.index").unlink()
    with pytest.raises(InputError, match=r"there is no model.ckpt.index; copy the index with the data"):
        read_checkpoint(prefix)
