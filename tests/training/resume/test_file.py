"""Checkpoint files: what is read is what was written, or it is known to be damaged."""

from __future__ import annotations

import errno
import os
import pickle
import random
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import torch

from tasks.training.resume.file import DamagedFileError, read, read_notes, write

if TYPE_CHECKING:
    from pathlib import Path

CONTENT: dict[str, Any] = {"weights": {"a": torch.arange(4000.0)}, "steps": [1, 2], "name": "x", "none": None}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    where = tmp_path / "step_000001.ckpt"
    assert write(where, CONTENT, {"step": 1}) == where.stat().st_size
    return where


def test_gives_back_what_was_written(path: Path) -> None:
    found = read(path)
    assert torch.equal(found["weights"]["a"], CONTENT["weights"]["a"])
    assert {key: found[key] for key in ("steps", "name", "none")} == {"steps": [1, 2], "name": "x", "none": None}
    assert read_notes(path)["step"] == 1
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def test_memory_layout_of_weights_stays(tmp_path: Path) -> None:
    filters = torch.rand(8, 3, 3, 3).to(memory_format=torch.channels_last)
    write(tmp_path / "x", {"filters": filters}, {})
    assert read(tmp_path / "x")["filters"].stride() == filters.stride()


def test_cut_short_at_forty_places(path: Path) -> None:
    whole = path.read_bytes()
    rng = random.Random(0)
    for length in [0, 1, 7, 8, 39, 40, 47, 48, 60, len(whole) - 1, *(rng.randrange(len(whole)) for _ in range(30))]:
        path.write_bytes(whole[:length])
        with pytest.raises(DamagedFileError, match=r"is cut short"):
            read(path)


def test_one_flipped_bit_at_thirty_places(path: Path) -> None:
    whole = path.read_bytes()
    rng = random.Random(1)
    for place in [0, 8, 40, 47, 50, len(whole) - 1, *(rng.randrange(len(whole)) for _ in range(24))]:
        flipped = bytearray(whole)
        flipped[place] ^= 1 << rng.randrange(8)
        path.write_bytes(flipped)
        with pytest.raises(DamagedFileError, match=r"checksum does not fit|is cut short|is no checkpoint"):
            read(path)


def test_something_else(path: Path) -> None:
    with path.open("wb") as other:
        pickle.dump({"weights": 1}, other)
    with pytest.raises(DamagedFileError, match=r"is no checkpoint to go on from"):
        read(path)
    assert read_notes(path) == {}
    with pytest.raises(DamagedFileError, match=r"cannot be read \(No such file or directory\)"):
        read(path.with_name("absent"))
    assert read_notes(path.with_name("absent")) == {}


def test_notes_that_are_no_notes(path: Path) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b'{"step"', b'["step"'))
    assert read_notes(path) == {}
    path.write_bytes(whole.replace(b'{"step": 1, "bytes": ', b"[1, 2, 3, 4, 5, 6, 7,"))
    assert read_notes(path) == {}


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    """torch's reader for plain data refuses an object of a class; so did nobody write one by chance."""
    write(tmp_path / "x", {"object": random.Random(0)}, {})
    with pytest.raises(DamagedFileError, match=r"holds more than plain data and tensors \(UnpicklingError\)"):
        read(tmp_path / "x")


def test_a_full_disk_leaves_what_was_there(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = path.read_bytes()

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("backbone.disk.os.fsync", full)
    with pytest.raises(OSError, match=r"the disk is full"):
        write(path, CONTENT, {"step": 2})
    assert path.read_bytes() == before
    assert [one.name for one in path.parent.iterdir()] == [path.name]


@pytest.mark.skipif(sys.platform != "linux", reason="needs a limit on the size of files")
def test_a_file_that_may_not_grow(path: Path) -> None:
    """The kernel refuses the write in the middle of the file."""
    before = path.read_bytes()
    code = (
        "import resource, signal, sys; from pathlib import Path; import torch\n"
        "from tasks.training.resume.file import write\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000))\n"
        "try: write(Path(sys.argv[1]), {'a': torch.zeros(100_000)}, {})\n"
        "except OSError as error: print(error.strerror)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout == "File too large\n"
    assert path.read_bytes() == before
    assert [one.name for one in path.parent.iterdir()] == [path.name]
