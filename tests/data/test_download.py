"""Downloads with a progress bar, and COCO's archives, from a server on this machine."""

from __future__ import annotations

import hashlib
import io
import shutil
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from backbone.errors import InputError
from tasks.data.files import download
from tasks.data.files.download import fetch
from tasks.data.formats.coco.download import COCO_2017, Archive, download_coco
from tests.data.builders import tree, zipped
from tests.file_server import Server

if TYPE_CHECKING:
    from pathlib import Path

BODY = bytes(range(256)) * 4000
MD5 = hashlib.md5(BODY, usedforsecurity=False).hexdigest()
QUIET = {"console": Console(file=io.StringIO())}


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Server() as server:
        server.files["file.bin"] = BODY
        yield server


@pytest.fixture
def console():
    return Console(file=io.StringIO(), width=120)


def test_the_bar_goes_where_it_is_told(server, tmp_path, console, capfd):
    path = tmp_path / "file.bin"
    assert fetch([server.url("file.bin")], path, md5=MD5, console=console) == path
    assert path.read_bytes() == BODY
    assert "file.bin (checking)" in console.file.getvalue()
    assert "1.0/1.0 MB" in console.file.getvalue()
    assert capfd.readouterr() == ("", "")


def test_the_bar_shows_rate_and_time_left(tmp_path, console, monkeypatch):
    """The clock stands still but for one second between two blocks; the resumed half counts for nothing."""

    def broken(*_, progress, **__):
        for done in (500_000, 600_000, 700_000):
            progress("downloading", done, 1_000_000)
            clock[0] += 1
        raise InputError("cut")

    clock = [time.monotonic()]
    bar = download.transfer_bar(console)
    bar.get_time = lambda: clock[0]
    monkeypatch.setattr(download, "transfer_bar", lambda _: bar)
    monkeypatch.setattr(download, "fetch_file", broken)
    with pytest.raises(InputError, match="cut"):
        fetch(["http://host/file.bin"], tmp_path / "file.bin", console=console)
    shown = console.file.getvalue().split()
    assert shown[:2] == ["file.bin", "(downloading)"]
    assert shown[3:] == ["0.7/1.0", "MB", "100.0", "kB/s", "0:00:03"]


def test_everything_is_passed_on(tmp_path, console, monkeypatch):
    calls = []
    monkeypatch.setattr(download, "fetch_file", lambda *given, **options: calls.append((given, options)) or given[1])
    options = {"sha256": "a", "md5": "b", "size": 3, "attempts": 4, "backoff_s": 5.0, "timeout_s": 6.0}
    assert fetch(["http://host/x"], tmp_path / "x", **options, console=console) == tmp_path / "x"
    ((given, passed),) = calls
    assert given == (["http://host/x"], tmp_path / "x")
    assert passed.pop("progress") is not None
    assert passed == options


def test_nothing_is_drawn_where_nothing_is_done(tmp_path, console):
    (tmp_path / "file.bin").write_bytes(BODY)
    fetch(["http://127.0.0.1:1/never"], tmp_path / "file.bin", md5=MD5, console=console)
    with pytest.raises(InputError, match="'file:///x' is no http:// or https:// address"):
        fetch(["file:///x"], tmp_path / "x", console=console)
    assert console.file.getvalue() == ""


def table(server: Server, tmp_path: Path) -> dict[str, Archive]:
    """COCO's table with archives that are small."""
    contents = {
        "annotations": {
            "annotations/instances_train2017.json": b"{}",
            "annotations/instances_val2017.json": b"[]",
            "annotations/captions_val2017.json": b"captions",
        },
        "val2017": {"val2017/1.jpg": b"one"},
        "train2017": {"train2017/2.jpg": b"two"},
    }
    small = {}
    for part, archive in COCO_2017.items():
        body = zipped(tmp_path / "made.zip", contents[part]).read_bytes()
        server.files[archive.path] = body
        small[part] = archive._replace(size=len(body), md5=hashlib.md5(body, usedforsecurity=False).hexdigest())
    return small


def test_coco_comes_in_its_layout_and_only_once(server, tmp_path):
    archives, root = table(server, tmp_path), tmp_path / "coco"
    options = {"base_url": server.url(""), "archives": archives, **QUIET}
    assert download_coco(root, parts=["annotations", "val2017"], **options) == ["annotations", "val2017"]
    assert download_coco(root, **options) == ["train2017"]
    assert tree(root) == {
        "annotations/instances_train2017.json": b"{}",
        "annotations/instances_val2017.json": b"[]",
        "train2017/2.jpg": b"two",
        "val2017/1.jpg": b"one",
    }
    asked = len(server.asked)
    assert download_coco(root, **options) == []
    assert len(server.asked) == asked == 3


def test_coco_errors(server, tmp_path, monkeypatch):
    with pytest.raises(InputError, match="download part 'test2017': must be one of annotations, val2017, train2017"):
        download_coco(tmp_path, parts=["test2017"])
    with pytest.raises(InputError, match=r"val2017\.zip: HTTP 404 Not Found"):
        download_coco(
            tmp_path, server.url("gone"), parts=["val2017"], archives=table(server, tmp_path), attempts=1, **QUIET
        )
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10**9))
    with pytest.raises(InputError, match=r"the disk has 1\.00 GB free and 39\.74 GB are needed"):
        download_coco(tmp_path / "new")
