"""Weights by name come from a server once, checked, and stay as they were."""

from __future__ import annotations

import hashlib
import re
import shutil
import socket
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from safetensors.torch import save

from backbone import InputError, MobileNetV2, load
from backbone.disk import check_space
from backbone.weights import registry
from backbone.weights.cache import cache_folder, is_name
from backbone.weights.download import AbsentError, fetch
from backbone.weights.registry import RemoteFile
from tests.backbone.test_weights import as_timm
from tests.file_server import Server

if TYPE_CHECKING:
    from collections.abc import Iterator


CONTENT = bytes(range(256)) * 40
MD5 = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    monkeypatch.setenv("TRIDENT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Server() as server:
        server.files["f"] = CONTENT
        yield server


@pytest.fixture
def weights() -> bytes:
    return save(as_timm(MobileNetV2(width=0.1)))


def offer(monkeypatch: pytest.MonkeyPatch, *files: RemoteFile) -> None:
    monkeypatch.setitem(registry.KNOWN["timm"], "tiny", list(files))


def test_a_published_hash_is_checked_and_the_file_is_asked_for_once(
    server: Server, weights: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    digits = hashlib.sha256(weights).hexdigest()[:8]
    server.files["w.safetensors"] = weights
    offer(monkeypatch, RemoteFile(server.url("w.safetensors"), digits))
    seen: list[tuple[str, int, int | None]] = []
    report = load("timm:tiny", MobileNetV2(width=0.1), progress=lambda *told: seen.append(told))
    assert str(report).endswith(f"; sha256 begins with the published {digits}")
    assert ("downloading", len(weights), len(weights)) in seen
    assert seen[-1] == ("checking", len(weights), len(weights))
    load("timm:tiny", MobileNetV2(width=0.1))
    assert server.asked == [("w.safetensors", None)]


def test_a_wrong_hash_is_refused_and_the_file_removed(
    server: Server, weights: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.files["w.safetensors"] = weights
    offer(monkeypatch, RemoteFile(server.url("w.safetensors"), "00000000"))
    with pytest.raises(InputError, match=r"expected sha256 00000000, found [0-9a-f]{64}; the partial file was removed"):
        load("timm:tiny", MobileNetV2(width=0.1))
    assert list(cache_folder().rglob("*.safetensors*")) == []


def test_a_404_is_one_line(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, RemoteFile(server.url("gone.safetensors"), "00000000"))
    with pytest.raises(
        InputError, match=r"weights timm:tiny: .*gone.safetensors: HTTP 404 Not Found.* put the file at"
    ):
        load("timm:tiny", MobileNetV2(width=0.1))


def test_the_next_alternative_is_taken_where_one_is_absent(
    server: Server, weights: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.files["b.safetensors"] = weights
    offer(monkeypatch, RemoteFile(server.url("a.safetensors")), RemoteFile(server.url("b.safetensors")))
    load("timm:tiny", MobileNetV2(width=0.1))
    load("timm:tiny", MobileNetV2(width=0.1))
    assert [name for name, _ in server.asked] == ["a.safetensors", "b.safetensors"]


def test_without_a_published_hash_the_first_download_is_pinned(
    server: Server, weights: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.files["w.safetensors"] = weights
    offer(monkeypatch, RemoteFile(server.url("w.safetensors")))
    folder, digest = cache_folder() / "weights" / "timm" / "tiny", hashlib.sha256(weights).hexdigest()
    pin = folder / "w.safetensors.sha256"
    report = load("timm:tiny", MobileNetV2(width=0.1))
    assert str(report).endswith(f"; no published hash: sha256 {digest} recorded in {pin}")
    assert pin.read_text() == f"{digest}  w.safetensors\n"
    assert load("timm:tiny", MobileNetV2(width=0.1)).checked.endswith(f"as recorded in {pin}")

    other = save(as_timm(MobileNetV2(width=0.1, bn_eps=0.1)))
    (folder / "w.safetensors").write_bytes(weights[:-1])  # damaged on the disk: fetched again
    load("timm:tiny", MobileNetV2(width=0.1))
    assert len(server.asked) == 2

    server.files["w.safetensors"] = other[:-1] + b"x"
    (folder / "w.safetensors").unlink()
    with pytest.raises(InputError, match=rf"expected sha256 {digest}.* if the new file is right, remove .*\.sha256"):
        load("timm:tiny", MobileNetV2(width=0.1))
    pin.write_text("what?\n")
    with pytest.raises(InputError, match="must begin with a sha256 in hexadecimal; remove it to record it anew"):
        load("timm:tiny", MobileNetV2(width=0.1))


@pytest.mark.parametrize("manner", ["ok", "norange", "unsized", "redirect"])
@pytest.mark.parametrize("busy", [0, 2])
def test_the_file_arrives_whole(server: Server, tmp_path: Path, manner: str, busy: int) -> None:
    server.busy = busy
    path, url = tmp_path / "new" / "f", server.url("f", manner)
    assert fetch([url], path, sha256=SHA256, md5=MD5, size=len(CONTENT), backoff_s=0.001) == path
    assert path.read_bytes() == CONTENT
    assert [file.name for file in path.parent.iterdir()] == ["f"]


def test_a_broken_connection_goes_on_where_it_was(server: Server, tmp_path: Path) -> None:
    server.cuts["f"] = [1000, 2000, 3000]
    path = fetch([server.url("f")], tmp_path / "f", sha256=SHA256, attempts=2, backoff_s=0.001)
    assert path.read_bytes() == CONTENT
    assert server.asked == [("f", None), ("f", "bytes=1000-"), ("f", "bytes=3000-"), ("f", "bytes=6000-")]


def test_a_cut_at_every_attempt_keeps_what_arrived(server: Server, tmp_path: Path) -> None:
    server.cuts["f"] = [1000]
    with pytest.raises(
        InputError, match=r"connection broke after 1000 of 10240 bytes\. .*f\.part keeps what arrived; "
    ):
        fetch([server.url("f")], tmp_path / "f", attempts=1)
    assert (tmp_path / "f.part").read_bytes() == CONTENT[:1000]


def test_what_an_earlier_run_left_is_continued(server: Server, tmp_path: Path) -> None:
    (tmp_path / "f.part").write_bytes(CONTENT[:5000])
    assert fetch([server.url("f")], tmp_path / "f", md5=MD5).read_bytes() == CONTENT
    assert server.asked == [("f", "bytes=5000-")]


def test_a_whole_partial_file_is_not_fetched_again(server: Server, tmp_path: Path) -> None:
    (tmp_path / "f.part").write_bytes(CONTENT)
    assert fetch([server.url("f")], tmp_path / "f", md5=MD5, size=len(CONTENT)).read_bytes() == CONTENT
    assert server.asked == []


@pytest.mark.parametrize("length", [5000, len(CONTENT), len(CONTENT) + 1])
@pytest.mark.parametrize("size", [None, len(CONTENT)])
def test_a_wrong_partial_file_costs_a_second_start_and_no_error(
    server: Server, tmp_path: Path, length: int, size: int | None
) -> None:
    (tmp_path / "f.part").write_bytes(b"x" * length)
    path = fetch([server.url("f")], tmp_path / "f", md5=MD5, size=size, backoff_s=0.001)
    assert path.read_bytes() == CONTENT
    assert server.asked[-1] == ("f", None)


@pytest.mark.parametrize("manner", ["norange", "shifted", "unsized"])
def test_a_server_without_ranges_starts_from_zero(server: Server, tmp_path: Path, manner: str) -> None:
    (tmp_path / "f.part").write_bytes(CONTENT[:1000])
    assert fetch([server.url("f", manner)], tmp_path / "f", md5=MD5, backoff_s=0.001).read_bytes() == CONTENT


def test_ranges_that_cannot_be_had_are_said(server: Server, tmp_path: Path) -> None:
    (tmp_path / "f.part").write_bytes(CONTENT[:1000])
    with pytest.raises(InputError, match=r"the server sent another range: bytes 1001-10239/10240\. Run again later"):
        fetch([server.url("f", "shifted")], tmp_path / "f", md5=MD5, attempts=1)
    (tmp_path / "f.part").write_bytes(CONTENT)
    with pytest.raises(InputError, match=r"the server has no bytes after 10240; starting from zero\. Run again later"):
        fetch([server.url("f")], tmp_path / "f", md5=MD5, attempts=1)
    assert not list(tmp_path.glob("f*"))


def test_an_existing_right_file_is_used(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(CONTENT)
    for sha256 in (SHA256.upper(), SHA256[:8]):
        assert fetch(["http://127.0.0.1:1/never"], tmp_path / "f", sha256=sha256) == tmp_path / "f"


def test_an_existing_wrong_file_is_replaced_and_reported(
    server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "f").write_bytes(b"old")
    assert fetch([server.url("f")], tmp_path / "f", size=len(CONTENT)).read_bytes() == CONTENT
    assert f"expected {len(CONTENT)} bytes, found 3; downloading it again" in caplog.text


def test_mirrors_are_tried_in_order(server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    urls = [server.url("gone"), server.url("f", "wrong"), server.url("f")]
    assert fetch(urls, tmp_path / "f", md5=MD5).read_bytes() == CONTENT
    assert "/gone: HTTP 404 Not Found" in caplog.text
    assert f"/wrong/f: expected md5 {MD5}, found" in caplog.text


def test_a_wrong_checksum_names_url_expected_and_found(server: Server, tmp_path: Path) -> None:
    found = hashlib.md5(CONTENT[::-1], usedforsecurity=False).hexdigest()
    url = server.url("f", "wrong")
    with pytest.raises(InputError) as caught:
        fetch([url], tmp_path / "f", md5=MD5)
    assert f"{url}: expected md5 {MD5}, found {found}; the partial file was removed. Run" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_another_size_is_not_fetched(server: Server, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"expected 5 bytes, the server has {len(CONTENT)}"):
        fetch([server.url("f")], tmp_path / "f", size=5)
    assert list(tmp_path.iterdir()) == []


def test_not_found_is_one_line_and_asked_once(server: Server, tmp_path: Path) -> None:
    url, path = server.url("gone"), tmp_path / "gone"
    with pytest.raises(AbsentError) as caught:
        fetch([url], path)
    assert str(caught.value) == (
        f"download of gone failed: {url}: HTTP 404 Not Found. Run again later, or put the file at {path} yourself"
    )
    assert len(server.asked) == 1


def test_a_server_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    with pytest.raises(InputError, match=r"download of f failed: http://127.0.0.1:1/f: Connection refused") as caught:
        fetch(["http://127.0.0.1:1/f"], tmp_path / "f", attempts=8)
    assert not isinstance(caught.value, AbsentError)
    assert waits == [1, 2, 4, 8, 16, 30, 30]


def test_a_silent_server_times_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/f"
        with pytest.raises(InputError, match="timed out"):
            fetch([url], tmp_path / "f", attempts=1, timeout_s=0.1)


def test_addresses_and_places_that_cannot_be(tmp_path: Path) -> None:
    for url in (
        "ftp://host/f",
        "file:///f",
        "http://[::1",
        "http://",
        "http:///f",
        "http://h:x/",
        f"http://{'ü' * 70}/",
    ):
        with pytest.raises(InputError, match=rf"'{re.escape(url)}' is no http:// or https:// address"):
            fetch([url], tmp_path / "f")
    with pytest.raises(InputError, match="leads to no address"):
        fetch([f"http://{'u' * 70}/"], tmp_path / "f")
    with pytest.raises(InputError, match="is a folder; give the name of a file to download to"):
        fetch(["http://host/f"], tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"f\.part: cannot be written \(.*\); choose a folder that you may write to"):
        fetch(["http://host/f"], tmp_path / "file" / "f")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_while_writing(server: Server, tmp_path: Path) -> None:
    (tmp_path / "f.part").symlink_to("/dev/full")
    with pytest.raises(InputError, match=r"f\.part: the disk is full; free some space and run again to go on"):
        fetch([server.url("f")], tmp_path / "f")


def test_a_full_disk_is_known_before(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10**3))
    with pytest.raises(InputError, match=r"the disk has 0\.00 GB free and 2\.00 GB are needed"):
        check_space(tmp_path / "not" / "there", 2 * 10**9)
    with pytest.raises(InputError, match=r"GB are needed; free some space and run again to go on"):
        fetch([server.url("f")], tmp_path / "f")


@pytest.mark.parametrize(
    ("platform", "environment", "folder"),
    [
        ("linux", {"TRIDENT_CACHE": "/big/cache"}, "/big/cache"),
        ("linux", {"XDG_CACHE_HOME": "/x"}, "/x/trident"),
        ("linux", {"HOME": "/h/me"}, "/h/me/.cache/trident"),
        ("darwin", {"HOME": "/h/me"}, "/h/me/Library/Caches/trident"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local/trident/Cache"),
    ],
)
def test_the_cache_is_where_the_platform_keeps_caches(
    platform: str, environment: dict[str, str], folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TRIDENT_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", platform)
    assert cache_folder() == Path(folder)


def test_names_and_paths_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "odd:name.pth").touch()
    assert is_name("timm:x")
    assert is_name("tensorhub:x")
    assert not any(is_name(path) for path in ("odd:name.pth", "C:\\w.pth", "w.pth", "./a:b.pth"))
