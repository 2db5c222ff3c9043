"""The one reader of safetensors headers, against the library that reads the tensors."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from safetensors import SafetensorError, deserialize
from safetensors.numpy import save

from backbone.errors import InputError
from backbone.tensor_file import CHECKSUM, MAX_HEADER, UNSEALED, check_seal, read_tensor_file, seal

if TYPE_CHECKING:
    from pathlib import Path

TENSORS = {
    "a": np.arange(6, dtype=np.float32).reshape(2, 3),
    "b.weight": np.ones((), np.float64),
    "none": np.zeros((0, 3), np.int64),
    "ü": np.arange(5, dtype=np.uint8),
}
WHOLE = save(TENSORS, {"format": "x", "said": "é\n"})
LENGTH = int.from_bytes(WHOLE[:8], "little")
STRICTER = ("a key comes twice", "which is not known", "no shape or no place")
"""What is refused here and taken by the library: it keeps the last of two, and knows types that torch has not."""


def packed(header: Any, data: bytes = WHOLE[8 + LENGTH :]) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def changed(**parts: Any) -> bytes:
    """The whole file with other values in the entry of `a`, or other entries."""
    header = json.loads(WHOLE[8 : 8 + LENGTH])
    for key, value in parts.items():
        if key in ("dtype", "shape", "data_offsets"):
            header["a"][key] = value
        else:
            header[key] = value
    return packed(header)


def mutated(rng: random.Random) -> bytes:
    """The whole file with a few bytes of its header changed, most of them to others of JSON's."""
    content = bytearray(WHOLE)
    for _ in range(rng.randint(1, 3)):
        place = rng.randrange(min(len(content), 8 + LENGTH))
        kind = rng.random()
        if kind < 0.4:
            content[place] ^= 1 << rng.randrange(8)
        elif kind < 0.7:
            content[place] = rng.choice(b'{}[],:"0123456789 -e.\\')
        elif kind < 0.8:
            del content[place + 1 : place + rng.randint(2, 9)]
        elif kind < 0.9:
            content[place:place] = rng.choice([b" ", b"null", b'"a":1,', b"\xff", b"\\ud800"])
        else:
            del content[rng.randrange(1, len(content)) :]
    return bytes(content)


def check_as_the_library(path: Path, content: bytes) -> str:
    """That both say the same of a file; `accepted`, or the line that says why not."""
    path.write_bytes(content)
    try:
        ours = read_tensor_file(path)
    except InputError as error:
        line = str(error)
        assert "\n" not in line
        assert len(line) < 400
        if not any(reason in line for reason in STRICTER):
            with pytest.raises(SafetensorError):
                deserialize(content)
        return line
    theirs = dict(deserialize(content))
    assert theirs.keys() == ours.tensors.keys()
    for name, entry in ours.tensors.items():
        assert (entry.dtype, list(entry.shape)) == (theirs[name]["dtype"], theirs[name]["shape"])
        assert content[ours.data_start :][entry.start : entry.end] == bytes(theirs[name]["data"])
    return "accepted"


def test_whole_file(tmp_path: Path) -> None:
    assert check_as_the_library(tmp_path / "w.safetensors", WHOLE) == "accepted"
    assert read_tensor_file(tmp_path / "w.safetensors").metadata == {"format": "x", "said": "é\n"}


def test_file_without_tensors(tmp_path: Path) -> None:
    assert check_as_the_library(tmp_path / "w.safetensors", save({})) == "accepted"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "no length"),
        (b"\0" * 8, "no length"),
        ((MAX_HEADER * 100).to_bytes(8, "little"), "no length"),
        (WHOLE[:40], "cut short in its header"),
        (WHOLE[:-1], "cut short or longer"),
        (WHOLE + b"x", "cut short or longer"),
        (packed(b"[1]"), "no table"),
        (packed(b"[" * 100_000), "nested too deep|no JSON"),
        (packed(b"{\xff}"), "no JSON"),
        (packed("{}".encode("utf-16")), "no JSON"),
        (packed(b'{"a": {}, "a": {}}'), "comes twice"),
        (packed(b'{"a": 1}'), "tensor a is no table"),
        (packed(b'{"\\ud800": 1}'), "no JSON"),
        (changed(__metadata__={"x": 1}), "no table of texts"),
        (changed(__metadata__=-0.0), "no table of texts"),
        (changed(__metadata__=[1]), "no table of texts"),
        (changed(dtype="F31"), "type F31, which is not known"),
        (changed(dtype=["F32"]), "which is not known"),
        (changed(dtype="F64"), "other bytes than its type and shape need"),
        (changed(shape=[2, -3]), "no shape or no place"),
        (changed(shape=[2, 3.0]), "no shape or no place"),
        (changed(shape=[True, 6]), "no shape or no place"),
        (changed(shape=[1 << 62, 4, 6]), "other bytes"),
        (changed(shape=[1] * 99_999), "no shape or no place"),
        (changed(data_offsets=[8]), "no shape or no place"),
        (changed(data_offsets=[24, 0]), "other bytes"),
        (changed(data_offsets=[0, 24]), "does not begin where another ends"),
        (changed(data_offsets=[9, 33]), "does not begin where another ends"),
    ],
    ids=lambda part: part if isinstance(part, str) else "",  # the library's order of keys is another in each process
)
def test_damage(tmp_path: Path, content: bytes, why: str) -> None:
    line = check_as_the_library(tmp_path / "w.safetensors", content)
    assert line != "accepted"
    with pytest.raises(InputError, match=why):
        read_tensor_file(tmp_path / "w.safetensors")


@pytest.mark.parametrize("name", ["absent", "", "x" * 300, "a\0b"])
def test_no_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"no such file|cannot be read"):
        read_tensor_file(str(tmp_path / name))


def test_a_thousand_damaged_headers(tmp_path: Path) -> None:
    seed = 20
    rng = random.Random(seed)
    said = [check_as_the_library(tmp_path / "w.safetensors", mutated(rng)) for _ in range(1000)]
    assert 10 < said.count("accepted") < 900, f"seed {seed}: {said.count('accepted')} of 1000 are still whole"


def test_every_flipped_bit_of_a_sealed_file_is_found(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(save({"a": TENSORS["a"]}, {"said": "yes", CHECKSUM: UNSEALED}))
    seal(path)
    check_seal(path)
    sealed = path.read_bytes()
    assert deserialize(sealed)
    for place in range(len(sealed)):
        path.write_bytes(sealed[:place] + bytes([sealed[place] ^ 1 << place % 8]) + sealed[place + 1 :])
        if CHECKSUM.encode() not in path.read_bytes()[8:]:
            continue  # its name is gone: a file without a checksum
        with pytest.raises(InputError, match=r"damaged"):
            check_seal(path)


def test_files_of_others_have_no_checksum(tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(WHOLE)
    assert CHECKSUM not in read_tensor_file(tmp_path / "w.safetensors").metadata
    check_seal(tmp_path / "w.safetensors")  # nothing to compare with
