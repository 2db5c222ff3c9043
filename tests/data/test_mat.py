"""MATLAB files, written by scipy: what is read is what scipy reads, and damage is an error in one line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from backbone.errors import InputError
from tasks.data.files.mat import Struct, read_mat

if TYPE_CHECKING:
    from pathlib import Path

KINDS = (np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64, np.float32, np.float64)
compressed = pytest.mark.parametrize("compressed", [False, True])


@compressed
@pytest.mark.parametrize("kind", KINDS)
def test_numbers(tmp_path: Path, kind: type[np.generic], compressed: bool) -> None:
    values = np.arange(35).reshape(5, 7).astype(kind)
    savemat(tmp_path / "a.mat", {"other": 3, "x": values, "last": "z"}, do_compression=compressed)
    found = read_mat(tmp_path / "a.mat", "x", "")
    np.testing.assert_array_equal(found, loadmat(tmp_path / "a.mat")["x"])
    np.testing.assert_array_equal(found, values)


@compressed
def test_structures_and_texts(tmp_path: Path, compressed: bool) -> None:
    kind = [(name, object) for name in ("number", "text", "empty", "mask", "cells")]
    rows = [
        (number, text, "", np.full((2, 3), number), np.array([[1], ["a"]], dtype=object))
        for number, text in enumerate(("tench, Tinca", "Käfer", "蝶"))
    ]
    savemat(tmp_path / "a.mat", {"s": np.array(rows, dtype=kind)[:, None]}, do_compression=compressed)
    found = read_mat(tmp_path / "a.mat", "s", "")
    theirs: Any = loadmat(tmp_path / "a.mat", squeeze_me=True)["s"]
    assert isinstance(found, Struct)
    assert list(found) == list(theirs.dtype.names)
    assert found["text"] == theirs["text"].tolist() == ["tench, Tinca", "Käfer", "蝶"]
    assert [value.item() for value in found["number"]] == theirs["number"].tolist()
    assert found["empty"] == ["", "", ""]
    assert found["cells"] == [None, None, None]
    for mine, other in zip(found["mask"], theirs["mask"], strict=True):
        np.testing.assert_array_equal(mine, other)


def read_or_refused(path: Path) -> str:
    """What is said of a file; nothing where it is read."""
    try:
        found = read_mat(path, "GTcls", "fetch it again")
    except InputError as error:
        return str(error)
    assert found is None or isinstance(found, Struct | str | np.ndarray)
    return ""


@compressed
def test_damaged_files_are_read_rightly_or_refused(tmp_path: Path, compressed: bool) -> None:
    """Every byte in turn, changed and left out, and every length: a damaged file ended the process."""
    path = tmp_path / "a.mat"
    contents = {"GTcls": {"Segmentation": np.arange(12, dtype=np.uint8).reshape(3, 4), "Name": "abc"}}
    savemat(path, contents, do_compression=compressed)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    damaged = [whole[:end] for end in range(0, len(whole), 3)]
    for place in range(120, len(whole)):
        value = bytes([whole[place] ^ int(rng.integers(1, 256))])
        damaged.append(whole[:place] + value + whole[place + 1 :])
    for data in damaged:
        path.write_bytes(data)
        said = read_or_refused(path)
        assert "\n" not in said
        assert said == "" or (said.startswith(f"{path}: ") and said.endswith("; fetch it again"))


def test_other_files(tmp_path: Path) -> None:
    (tmp_path / "empty.mat").touch()
    savemat(tmp_path / "old.mat", {"x": np.zeros(3)}, format="4")
    (tmp_path / "text.mat").write_text("no mat file" * 100)
    for name in ("empty", "old", "text"):
        with pytest.raises(
            InputError, match=rf"{name}\.mat: is no whole MAT file with x \(.*no header of level 5\); go"
        ):
            read_mat(tmp_path / f"{name}.mat", "x", "go")


def test_what_is_not_read(tmp_path: Path) -> None:
    savemat(
        tmp_path / "a.mat", {"complex": np.array([1j]), "cells": np.array([[1], ["a"]], object), "rows": ["a", "b"]}
    )
    assert [read_mat(tmp_path / "a.mat", name, "") for name in ("complex", "cells", "rows")] == [None] * 3


def test_a_compressed_part_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.data.files.mat.MAX_BYTES", 1 << 20)
    savemat(tmp_path / "a.mat", {"x": np.zeros((2 << 20,), np.uint8)}, do_compression=True)
    with pytest.raises(InputError, match="a compressed part is cut off or too large"):
        read_mat(tmp_path / "a.mat", "x", "")
