"""Files of two splits that are byte for byte the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.data.files.twins import twins

if TYPE_CHECKING:
    from pathlib import Path


def test_twins_are_equal_in_every_byte(tmp_path: Path) -> None:
    long = b"x" * 10_000
    contents = {"a": b"one", "b": long + b"end", "c": b"y" + long[1:] + b"end", "d": b"six", "e": b""}
    ones = [tmp_path / f"train_{name}" for name in contents]
    for path, content in zip(ones, contents.values(), strict=True):
        path.write_bytes(content)
    others = {"a": b"one", "b": long + b"end", "c": b"z" + long[1:] + b"end", "e": b""}
    for name, content in others.items():
        (tmp_path / f"val_{name}").write_bytes(content)
    listed = [*(tmp_path / f"val_{name}" for name in others), tmp_path / "gone", tmp_path, ones[3]]
    assert twins(ones, listed) == [(ones[0], listed[0]), (ones[1], listed[1]), (ones[3], ones[3])]
    assert twins([], listed) == twins(ones, []) == []
