"""What comes from a server: one version of a file, in bounded time and size. Oracle: RFC 9110."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from backbone import InputError
from backbone.weights import request
from backbone.weights.download import fetch
from backbone.weights.request import ascii_address
from tests.file_server import Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONTENT = bytes(range(256)) * 40


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Server() as server:
        server.files["f"] = CONTENT
        yield server


VERSIONS = [{"ETag": '"1"'}, {"Last-Modified": "Wed, 25 Nov 2026 12:00:00 GMT"}]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("later", [False, True])
def test_the_same_version_is_gone_on_with(
    server: Server, tmp_path: Path, version: dict[str, str], *, later: bool
) -> None:
    server.versions["f"], server.cuts["f"] = version, [1000]
    if later:
        with pytest.raises(InputError, match="keeps what arrived"):
            fetch([server.url("f")], tmp_path / "f", attempts=1)
    assert fetch([server.url("f")], tmp_path / "f", backoff_s=0.001).read_bytes() == CONTENT
    assert server.asked == [("f", None), ("f", "bytes=1000-")]
    assert server.conditions == [None, *version.values()]
    assert [file.name for file in tmp_path.iterdir()] == ["f"]


@pytest.mark.parametrize("manner", ["ok", "deaf"])
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("size", [None, len(CONTENT)])
def test_two_versions_are_never_mixed(
    server: Server, tmp_path: Path, manner: str, version: dict[str, str], size: int | None
) -> None:
    """No hash is known: only the server's own words tell that the file changed (RFC 9110, sections 8.8 and 13.1.5)."""
    server.versions["f"], server.cuts["f"] = version, [1000]
    with pytest.raises(InputError, match="keeps what arrived"):
        fetch([server.url("f", manner)], tmp_path / "f", size=size, attempts=1)
    server.versions["f"], server.files["f"] = {name: f"{value}+" for name, value in version.items()}, CONTENT[::-1]
    path = fetch([server.url("f", manner)], tmp_path / "f", size=size, backoff_s=0.001)
    assert path.read_bytes() == CONTENT[::-1]
    assert server.conditions[1] == next(iter(version.values()))


@pytest.mark.parametrize("version", [{}, {"ETag": 'W/"1"'}])
def test_without_version_and_hash_a_file_starts_from_zero(
    server: Server, tmp_path: Path, version: dict[str, str]
) -> None:
    server.versions["f"], server.cuts["f"] = version, [1000]
    assert fetch([server.url("f")], tmp_path / "f", backoff_s=0.001).read_bytes() == CONTENT
    assert server.asked == [("f", None), ("f", None)]


def test_another_mirror_is_another_version(server: Server, tmp_path: Path) -> None:
    server.versions["f"], server.cuts["f"] = {"ETag": '"1"'}, [1000]
    urls = [server.url("f"), server.url("f", "deaf")]
    assert fetch(urls, tmp_path / "f", attempts=1).read_bytes() == CONTENT
    assert server.asked == [("f", None), ("f", None)]


def test_a_file_that_changes_all_the_time_is_given_up(server: Server, tmp_path: Path) -> None:
    class Changing(dict[str, dict[str, str]]):
        def get(self, *_: object) -> dict[str, str]:  # type: ignore[override]
            return {"ETag": f'"{len(server.asked)}"'}

    server.versions, server.cuts["f"] = Changing(), [1000] * 20
    with pytest.raises(InputError, match=r"connection broke|changed on the server"):
        fetch([server.url("f", "deaf")], tmp_path / "f", attempts=3, backoff_s=0.001)
    assert len(server.asked) <= 5


@pytest.mark.parametrize("size", [None, 3 * len(CONTENT)])
def test_a_body_without_end_is_cut(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int | None
) -> None:
    monkeypatch.setattr(request, "MAX_BYTES", 3 * len(CONTENT))
    with pytest.raises(InputError, match=f"the server sends more than {3 * len(CONTENT)} bytes. Run again later"):
        fetch([server.url("f", "endless")], tmp_path / "f", size=size)
    assert list(tmp_path.iterdir()) == []


def test_a_huge_file_that_nobody_expects_is_not_begun(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request, "MAX_BYTES", 1000)
    with pytest.raises(InputError, match=f"the server has {len(CONTENT)} bytes, and at most 1000 are taken"):
        fetch([server.url("f")], tmp_path / "f")
    assert fetch([server.url("f")], tmp_path / "f", size=len(CONTENT)).read_bytes() == CONTENT


def test_a_trickle_is_as_good_as_silence(server: Server, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"only \d+ bytes came in"):
        fetch([server.url("f", "slow")], tmp_path / "f", timeout_s=0.2, attempts=2, backoff_s=0.001)


@pytest.mark.parametrize("length", ["many", "-1", "²", "1" * 30])
def test_a_length_that_is_none(server: Server, tmp_path: Path, length: str) -> None:
    server.lengths["f"] = length
    with pytest.raises(InputError, match=r"states a length of '.+', which is no number|at most \d+ are taken"):
        fetch([server.url("f")], tmp_path / "f", attempts=1)


def test_redirections_that_lead_nowhere(server: Server, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="leads to no address"):
        fetch([server.url("f", "astray")], tmp_path / "f", attempts=1)
    with pytest.raises(InputError, match=r"ftp|not allowed"):
        fetch([server.url("f", "elsewhere")], tmp_path / "f", attempts=1)


def test_addresses_are_sent_as_ascii(server: Server, tmp_path: Path) -> None:
    server.files["caf%C3%A9%20.jpg?q=%C3%BC"] = CONTENT
    assert fetch([server.url("café .jpg?q=ü")], tmp_path / "f").read_bytes() == CONTENT
    assert ascii_address("http://BÜCHER.example:8080/a%20b") == "http://xn--bcher-kva.example:8080/a%20b"
    assert ascii_address("https://[::1]:80/") == "https://[::1]:80/"
