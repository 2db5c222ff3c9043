"""One HTTP request for a file, or for what is missing of it. Standard library only.

What arrives is kept in `NAME.part`. Beside it `NAME.part.version` says which version of the file that is (the server's
ETag or Last-Modified, RFC 9110 section 8.8), so that the end of another version is never added to it.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import string
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import TYPE_CHECKING

from backbone.disk import Progress, check_space, writing
from backbone.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CHUNK = 1 << 18
MAX_BYTES = 1 << 30
"""Most bytes of a file whose size is not known beforehand."""
MIN_RATE = 1000
"""Bytes in a second below which a server is as good as silent."""
RETRIED_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})
SAFE = string.punctuation
"""ASCII characters, besides letters and digits, that an address may hold as they are."""


class MirrorError(Exception):
    """One mirror could not deliver; the message says why.

    `again`: whether the same mirror may be asked again. `absent`: whether it said that it has no such file.
    """

    def __init__(self, why: str, *, again: bool, absent: bool = False) -> None:
        super().__init__(why)
        self.again = again
        self.absent = absent


def ascii_address(url: str) -> str:
    """The address as HTTP sends it: what is not ASCII is encoded.

    Raises:
        InputError: it is no http or https address with a host.
    """
    try:
        parts = urllib.parse.urlsplit(url)
        host, port = parts.hostname, parts.port
        if parts.scheme not in ("http", "https") or not host or parts.username is not None:
            raise ValueError
        name = host if host.isascii() else host.encode("idna").decode()
        name = f"[{name}]" if ":" in name else name
        place = name if port is None else f"{name}:{port}"
        path, query = (urllib.parse.quote(part, safe=SAFE) for part in (parts.path, parts.query))
        return urllib.parse.urlunsplit((parts.scheme, place, path, query, ""))
    except ValueError:
        raise InputError(f"{url!r} is no http:// or https:// address such as https://host/folder/file") from None


def receive(
    url: str, part: Path, *, size: int | None, hashed: bool, timeout_s: float, progress: Progress | None
) -> None:
    """Append to `part` what the server sends, until the file is complete.

    Args:
        url: of `ascii_address`.
        size: bytes of the whole file; None: unknown.
        hashed: whether a hash will show that two versions were mixed. If not, a server that gives its files no version
            is asked for the whole file.
        timeout_s: seconds without a byte, or with almost none, after which the request has failed.

    Raises:
        MirrorError: refused, cut, too long, too slow, another version, or an answer that does not fit.
        InputError: no space or no right to write.
    """
    start, version = _begun(url, part, size, hashed)
    if start and start == size:
        return
    headers = {"User-Agent": "trident", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
        headers |= {"If-Range": version} if version else {}
    with contextlib.closing(_open(url, headers, part, timeout_s)) as answer:
        honoured = answer.status == http.client.PARTIAL_CONTENT
        total = _total(answer, start if honoured else 0)
        if honoured:
            _check_range(answer, part, start, version, hashed)
        _check_size(size, total)
        done = start if honoured else 0
        most = total if total is not None else size or MAX_BYTES
        check_space(part.parent, 0 if total is None else total - done)
        with writing(part), part.open("ab" if honoured else "wb") as file:
            if not honoured:
                _remember(url, part, answer)
            for block in _blocks(answer, timeout_s):
                done += len(block)
                if done > most:
                    break
                file.write(block)
                if progress is not None:
                    progress("downloading", done, total)
    if done > most:
        forget(part)
        raise MirrorError(f"the server sends more than {most} bytes", again=False)
    if total is not None and done != total:
        raise MirrorError(f"the connection broke after {done} of {total} bytes", again=True)


def forget(part: Path) -> None:
    """Remove a partial file and its version."""
    with writing(part):
        part.unlink(missing_ok=True)
        version_file(part).unlink(missing_ok=True)


def version_file(part: Path) -> Path:
    """Where the version of a partial file is kept."""
    return part.with_name(f"{part.name}.version")


def _begun(url: str, part: Path, size: int | None, hashed: bool) -> tuple[int, str]:
    """Bytes that are there and can be gone on with, and their version; empty: unknown."""
    start = part.stat().st_size if part.exists() else 0
    version = ""
    try:
        address, _, kept = version_file(part).read_text(encoding="ascii").partition("\n")
        if address == _digest(url):
            version = kept
    except (OSError, ValueError):
        pass  # absent, or not one of ours: unknown
    if start and ((size is not None and start > size) or not (hashed or version)):
        forget(part)
        return 0, ""
    return start, version


def _remember(url: str, part: Path, answer: http.client.HTTPResponse) -> None:
    """Write down the version that an answer begins, before its first byte."""
    version_file(part).write_text(f"{_digest(url)}\n{_version(answer)}", encoding="ascii", errors="ignore")


def _version(answer: http.client.HTTPResponse) -> str:
    """What If-Range may name: a strong ETag, or the date where there is no ETag at all."""
    tag = answer.headers["ETag"]
    found = answer.headers["Last-Modified"] if tag is None else "" if tag.startswith("W/") else tag
    return (found or "").strip()


def _digest(url: str) -> str:
    return hashlib.sha256(url.encode()).hexdigest()


def _check_range(answer: http.client.HTTPResponse, part: Path, start: int, version: str, hashed: bool) -> None:
    """See that an answer goes on where `part` ends; that is removed where it does not."""
    span = answer.headers["Content-Range"] or ""
    if not span.startswith(f"bytes {start}-"):
        forget(part)
        raise MirrorError(f"the server sent another range: {span or None}", again=True)
    found = _version(answer)
    if version and found != version and (found or not hashed):
        forget(part)
        raise MirrorError("the file changed on the server meanwhile; starting from zero", again=True)


def _check_size(size: int | None, total: int | None) -> None:
    if size is not None and total is not None and total != size:
        raise MirrorError(f"expected {size} bytes, the server has {total}", again=False)
    if size is None and total is not None and total > MAX_BYTES:
        raise MirrorError(f"the server has {total} bytes, and at most {MAX_BYTES} are taken", again=False)


def _total(answer: http.client.HTTPResponse, start: int) -> int | None:
    """Bytes of the whole file, if the server says so."""
    whole = (answer.headers["Content-Range"] or "").rpartition("/")[2]
    length = answer.headers["Content-Length"]
    for text, before in ((whole, 0), (length, start)):
        if text and text.isascii() and text.isdecimal():
            return int(text[:20]) + before
    if length is not None:
        raise MirrorError(f"the server states a length of {length[:40]!r}, which is no number", again=False)
    return None


def _open(url: str, headers: dict[str, str], part: Path, timeout_s: float) -> http.client.HTTPResponse:
    """The answer to a request. Addresses of other kinds are not followed to."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.UnknownHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    with _network(), _past_the_end(part, headers):
        answer: http.client.HTTPResponse = opener.open(urllib.request.Request(url, headers=headers), timeout=timeout_s)
    if answer.status not in (http.client.OK, http.client.PARTIAL_CONTENT):
        answer.close()
        raise MirrorError(f"HTTP {answer.status} {answer.reason}", again=False)
    return answer


def _blocks(answer: http.client.HTTPResponse, timeout_s: float) -> Iterator[bytes]:
    """What arrives, as it arrives; errors of the network are told from errors of the disk by where they are raised."""
    began, arrived = time.monotonic(), 0
    while True:
        with _network():
            block = answer.read1(CHUNK)
        if not block:
            return
        arrived += len(block)
        passed = time.monotonic() - began
        if passed > timeout_s:
            if arrived < MIN_RATE * passed:
                raise MirrorError(f"only {arrived} bytes came in {passed:.0f} s", again=True)
            began, arrived = time.monotonic(), 0
        yield block


@contextlib.contextmanager
def _past_the_end(part: Path, headers: dict[str, str]) -> Iterator[None]:
    """A partial file that the server's file does not reach (HTTP 416) is of no use: it is removed."""
    try:
        yield
    except urllib.error.HTTPError as error:
        if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE and "Range" in headers:
            error.close()
            start = headers["Range"].removeprefix("bytes=").rstrip("-")
            forget(part)
            raise MirrorError(f"the server has no bytes after {start}; starting from zero", again=True) from None
        raise


@contextlib.contextmanager
def _network() -> Iterator[None]:
    """Turn what the network raises into `MirrorError`."""
    try:
        yield
    except urllib.error.HTTPError as error:
        error.close()
        raise MirrorError(
            f"HTTP {error.code} {error.reason}",
            again=error.code in RETRIED_STATUS,
            absent=error.code in (http.client.NOT_FOUND, http.client.GONE),
        ) from None
    except urllib.error.URLError as error:
        raise MirrorError(str(getattr(error.reason, "strerror", None) or error.reason), again=True) from None
    except (OSError, http.client.HTTPException) as error:
        raise MirrorError(str(getattr(error, "strerror", None) or error or type(error).__name__), again=True) from None
    except ValueError as error:  # a host or a redirection that is no address
        raise MirrorError(f"leads to no address ({error})", again=False) from None
