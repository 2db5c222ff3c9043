"""Archives that are sound, broken and hostile."""

from __future__ import annotations

import io
import tarfile
import zipfile
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from backbone.errors import InputError
from tasks.data.files.unpack import unpack
from tests.data.builders import tree, zipped

if TYPE_CHECKING:
    from pathlib import Path


def tarred(path: Path, files: dict[str, bytes], links: dict[str, str] | None = None) -> Path:
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as archive:
        for name, contents in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(contents)
            archive.addfile(info, io.BytesIO(contents))
        for name, target in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            archive.addfile(info)
    return path


QUIET = {"console": Console(file=io.StringIO())}
FILES = {"a/b/one.txt": b"1", "a/two.txt": b"22", "top.txt": b"333"}


@pytest.mark.parametrize(("name", "make"), [("x.zip", zipped), ("x.tar", tarred), ("x.tar.gz", tarred)])
def test_unpacking_gives_the_files_and_nothing_else(tmp_path, name, make):
    out = tmp_path / "out"
    assert unpack(make(tmp_path / name, FILES), out, **QUIET) == [out / "a", out / "top.txt"]
    assert tree(out) == FILES
    assert unpack(tmp_path / name, out, **QUIET) == [out / "a", out / "top.txt"]


def test_unpacking_joins_a_folder_and_replaces_nothing(tmp_path):
    archive, out = zipped(tmp_path / "x.zip", FILES), tmp_path / "out"
    (out / "a").mkdir(parents=True)
    (out / "a" / "mine.txt").write_bytes(b"m")
    unpack(archive, out, **QUIET)
    assert tree(out) == FILES | {"a/mine.txt": b"m"}
    (out / "a" / "two.txt").write_bytes(b"changed")
    (out / "top.txt").unlink()
    with pytest.raises(InputError, match=r"two\.txt: is there already and differs from the one in"):
        unpack(archive, out, **QUIET)
    assert sorted(p.name for p in out.iterdir()) == ["a"]


def test_unpacking_only_some(tmp_path):
    archive, out = zipped(tmp_path / "x.zip", FILES), tmp_path / "out"
    unpack(archive, out, only=["a/two.txt"], **QUIET)
    assert tree(out) == {"a/two.txt": b"22"}
    with pytest.raises(InputError, match=r"x\.zip: does not hold nine, ten; is it another archive of that name"):
        unpack(archive, out, only=["ten", "nine"], **QUIET)


def test_an_interrupted_run_is_started_anew(tmp_path):
    archive, out = zipped(tmp_path / "x.zip", FILES), tmp_path / "out"
    (out / ".x.zip.unpacking" / "a").mkdir(parents=True)
    (out / ".x.zip.unpacking" / "a" / "half.txt").write_bytes(b"h")
    unpack(archive, out, **QUIET)
    assert tree(out) == FILES


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/evil", "C:/evil", "..\\evil"])
@pytest.mark.parametrize(("file", "make"), [("x.zip", zipped), ("x.tar", tarred)])
def test_names_that_lead_out_are_refused(tmp_path, name, file, make):
    archive = make(tmp_path / file, {"good": b"", name: b"evil"})
    with pytest.raises(InputError, match="leads out of the folder; nothing was unpacked, do not trust this archive"):
        unpack(archive, tmp_path / "deep" / "out", **QUIET)
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == [file]


@pytest.mark.parametrize(
    "name", ["n" * 256, "ä" * 128, "d/" * 1500 + "f", "d/" * 1500, "", ".", "./", "a/b/" + "n" * 256]
)
@pytest.mark.parametrize(("file", "make"), [("x.zip", zipped), ("x.tar", tarred)])
def test_names_that_are_none_are_refused(tmp_path, name, file, make):
    archive = make(tmp_path / file, {"good": b""} | ({name: b""} if name else {}))
    if not name:
        archive = _with_an_empty_name(tmp_path / file)
    if file == "x.zip" and name == "./":  # zip's way to say a folder: this one
        assert unpack(archive, tmp_path / "out", **QUIET) == [tmp_path / "out" / "good"]
        return
    with pytest.raises(InputError, match=r"is no name for a file: it must have 1 .. 255 bytes in each of at most 32"):
        unpack(archive, tmp_path / "out", **QUIET)
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == [file]


def _with_an_empty_name(path: Path) -> Path:
    if path.suffix == ".tar":
        return tarred(path, {"": b""})
    with zipfile.ZipFile(path, "w") as archive, archive.open(zipfile.ZipInfo(""), "w"):  # `writestr` takes none
        pass
    return path


def test_names_at_the_limits(tmp_path):
    files = {"n" * 255: b"1", "d/" * 31 + "f": b"2", "ü.txt": b"3"}
    assert len(unpack(tarred(tmp_path / "x.tar", files), tmp_path / "out", **QUIET)) == 3
    assert tree(tmp_path / "out") == files


def test_links_are_refused(tmp_path):
    archive = tarred(tmp_path / "x.tar", {}, {"a": "/etc"})
    with pytest.raises(InputError, match=r"x\.tar: 'a' is a link or device"):
        unpack(archive, tmp_path / "out", **QUIET)
    info = zipfile.ZipInfo("a")
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as zipped_link:
        zipped_link.writestr(info, "/etc")
    with pytest.raises(InputError, match=r"x\.zip: 'a' is a link or device"):
        unpack(tmp_path / "x.zip", tmp_path / "out", **QUIET)


@pytest.mark.parametrize(("file", "make"), [("x.zip", zipped), ("x.tar.gz", tarred)])
def test_a_bomb_is_refused_before_it_is_written(tmp_path, monkeypatch, file, make):
    monkeypatch.setattr("tasks.data.files.unpack.BOMB_FLOOR", 1000)
    archive = make(tmp_path / file, {"a": bytes(3_000_000)})
    with pytest.raises(InputError, match=r"unpacks to more than .* bytes, 200 times its size"):
        unpack(archive, tmp_path / "out", **QUIET)


def test_broken_archives(tmp_path):
    with pytest.raises(InputError, match="there is no such archive"):
        unpack(tmp_path / "none.zip", tmp_path / "out", **QUIET)
    (tmp_path / "x.zip").write_bytes(b"not a zip")
    with pytest.raises(
        InputError, match=r"x\.zip: is neither a zip nor a tar archive; remove it and download it again"
    ):
        unpack(tmp_path / "x.zip", tmp_path / "out", **QUIET)
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as stored:
        stored.writestr("a", "contents")
    (tmp_path / "x.zip").write_bytes((tmp_path / "x.zip").read_bytes().replace(b"contents", b"c0ntents", 1))
    with pytest.raises(InputError, match=r"x\.zip: 'a': cannot be unpacked \(Bad CRC-32"):
        unpack(tmp_path / "x.zip", tmp_path / "out", **QUIET)
    whole = tarred(tmp_path / "x.tar.gz", {"a": bytes(range(256)) * 4000}).read_bytes()
    (tmp_path / "x.tar.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"cannot be unpacked"):
        unpack(tmp_path / "x.tar.gz", tmp_path / "out", **QUIET)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_occurs_twice(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("a", "1")
        archive.writestr("a", "2")
    with pytest.raises(InputError, match=r"x\.zip: 'a' is in it twice, for this file system"):
        unpack(tmp_path / "x.zip", tmp_path / "out", **QUIET)


def test_a_folder_that_cannot_be_written(tmp_path):
    archive = zipped(tmp_path / "x.zip", FILES)
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"out: cannot be written \(.*\); choose a folder that you may write to"):
        unpack(archive, tmp_path / "file" / "out", **QUIET)
