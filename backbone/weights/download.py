"""Gets one file over HTTP: resumable, checked, and complete or not there at all. Standard library only.

`fetch` writes to `NAME.part` and gives the file its name when its hash is right.
"""

from __future__ import annotations

import contextlib
import http.client
import logging
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from backbone.disk import Progress, UnwritableError, check_space, digest_of, writing
from backbone.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

logger = logging.getLogger(__name__)

CHUNK = 1 << 18
MAX_BACKOFF_S = 30.0
RETRIED_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})


class AbsentError(InputError):
    """Every mirror answered that it has no such file."""


class Checks(NamedTuple):
    """What is known of a file; None is unknown. `sha256` may be given by its first digits, as in public file names."""

    sha256: str | None = None
    md5: str | None = None
    size: int | None = None

    def wrong(self, path: Path, progress: Progress | None = None) -> str | None:
        """What is wrong with a file, as `expected ..., found ...`; None if nothing is."""
        found = path.stat().st_size
        if self.size is not None and found != self.size:
            return f"expected {self.size} bytes, found {found}"
        for name, expected in (("sha256", self.sha256), ("md5", self.md5)):
            if expected is None:
                continue
            digest = digest_of(path, name, progress)
            if not digest.startswith(expected.lower()):
                return f"expected {name} {expected}, found {digest}"
        return None


class _MirrorError(Exception):
    """One mirror could not deliver; the message says why.

    `again`: whether the same mirror may be asked again. `absent`: whether it said that it has no such file.
    """

    def __init__(self, why: str, *, again: bool, absent: bool = False) -> None:
        super().__init__(why)
        self.again = again
        self.absent = absent


def fetch(
    urls: Sequence[str],
    path: str | Path,
    *,
    sha256: str | None = None,
    md5: str | None = None,
    size: int | None = None,
    attempts: int = 5,
    backoff_s: float = 1.0,
    timeout_s: float = 30.0,
    progress: Progress | None = None,
) -> Path:
    """Download one file and return its path.

    An existing file that passes the checks is used as it is; one that does not is replaced, with a warning. What an
    earlier run left in `NAME.part` is continued with an HTTP range, if the server honours it.

    Args:
        urls: mirrors of the same file, http or https, tried in order.
        sha256, md5: in hexadecimal, whole or the first digits; size: bytes. What is None is not checked.
        attempts: failures in a row, without a new byte in between, after which a mirror is given up.
        backoff_s: seconds before the second attempt; doubles with every further one, up to 30.
        timeout_s: seconds without a byte after which an attempt has failed.
        progress: told of every block.
    Raises:
        AbsentError: no mirror has such a file.
        InputError: no mirror delivered (why is said of each; the partial file stays), a wrong checksum (the partial
            file is removed), no space or no right to write.
    """
    path, checks = Path(path), Checks(sha256, md5, size)
    for url in urls:
        if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
            raise InputError(f"download of {path.name}: {url!r} is no http:// or https:// address")
    if path.is_dir():
        raise InputError(f"{path}: is a folder; give the name of a file to download to")
    if path.exists():
        wrong = checks.wrong(path)
        if wrong is None:
            return path
        logger.warning("%s: %s; downloading it again", path, wrong)
    part = path.with_name(path.name + ".part")
    with writing(part):
        path.parent.mkdir(parents=True, exist_ok=True)
    failures, absent = [], True
    for url in urls:
        try:
            _fetch_one(url, part, checks, attempts, backoff_s, timeout_s, progress)
        except _MirrorError as failure:
            logger.warning("%s: %s", url, failure)
            failures.append(f"{url}: {failure}")
            absent = absent and failure.absent
            continue
        with writing(path):
            part.replace(path)
        return path
    kept = f"{part} keeps what arrived; run again to go on" if part.exists() else "Run again later"
    raise (AbsentError if absent else InputError)(
        f"download of {path.name} failed: {'; '.join(failures)}. {kept}, or put the file at {path} yourself"
    )


def _fetch_one(
    url: str,
    part: Path,
    checks: Checks,
    attempts: int,
    backoff_s: float,
    timeout_s: float,
    progress: Progress | None,
) -> None:
    """Fill `part` from one mirror, checked.

    Raises:
        _MirrorError: it cannot; the partial file stays, unless its checksum is wrong.
    """
    resumed = part.exists() and part.stat().st_size > 0
    failed = 0
    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            _receive(url, part, checks.size, timeout_s, progress)
        except _MirrorError as failure:
            grown = part.exists() and part.stat().st_size > before
            failed = 1 if grown else failed + 1
            if not failure.again or failed >= attempts:
                raise
            wait = min(MAX_BACKOFF_S, backoff_s * 2 ** (failed - 1))
            logger.info("%s: %s; again in %.0f s", url, failure, wait)
            time.sleep(wait)
            continue
        wrong = checks.wrong(part, progress)
        if wrong is None:
            return
        part.unlink()
        if not resumed:
            raise _MirrorError(f"{wrong}; the partial file was removed", again=False)
        logger.warning("%s: %s, after going on with what an earlier run had left; starting from zero", url, wrong)
        resumed = False


def _receive(url: str, part: Path, size: int | None, timeout_s: float, progress: Progress | None) -> None:
    """One request; appends to `part` what the server sends, until the file is complete.

    Raises:
        _MirrorError: refused, cut, or an answer that does not fit.
    """
    start = part.stat().st_size if part.exists() else 0
    if size is not None and start >= size:
        if start == size:
            return
        part.unlink()
        start = 0
    headers = {"User-Agent": "trident", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    request = urllib.request.Request(url, headers=headers)
    with _network(), _past_the_end(part, start), urllib.request.urlopen(request, timeout=timeout_s) as answer:
        total = _total(answer, start)
        honoured = answer.status == http.client.PARTIAL_CONTENT
        if honoured and not (answer.headers["Content-Range"] or "").startswith(f"bytes {start}-"):
            part.unlink(missing_ok=True)
            raise _MirrorError(f"the server sent another range: {answer.headers['Content-Range']}", again=True)
        if size is not None and total is not None and total != size:
            raise _MirrorError(f"expected {size} bytes, the server has {total}", again=False)
        done = start if honoured else 0
        check_space(part.parent, 0 if total is None else total - done)
        with writing(part), part.open("ab" if honoured else "wb") as file:
            for block in _blocks(answer):
                file.write(block)
                done += len(block)
                if progress is not None:
                    progress("downloading", done, total)
    if total is not None and done != total:
        raise _MirrorError(f"the connection broke after {done} of {total} bytes", again=True)


def _blocks(answer: http.client.HTTPResponse) -> Iterator[bytes]:
    """What arrives, as it arrives; errors of the network are told from errors of the disk by where they are raised."""
    while True:
        with _network():
            block = answer.read1(CHUNK)
        if not block:
            return
        yield block


def _total(answer: http.client.HTTPResponse, start: int) -> int | None:
    """Bytes of the whole file, if the server says so."""
    whole = (answer.headers["Content-Range"] or "").rpartition("/")[2]
    if whole.isdigit():
        return int(whole)
    length = answer.headers["Content-Length"]
    if length is None:
        return None
    return int(length) + (start if answer.status == http.client.PARTIAL_CONTENT else 0)


@contextlib.contextmanager
def _past_the_end(part: Path, start: int) -> Iterator[None]:
    """A partial file that the server's file does not reach (HTTP 416) is of no use: it is removed."""
    try:
        yield
    except urllib.error.HTTPError as error:
        if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
            error.close()
            part.unlink()
            raise _MirrorError(f"the server has no bytes after {start}; starting from zero", again=True) from None
        raise


@contextlib.contextmanager
def _network() -> Iterator[None]:
    """Turns what the network raises into `_MirrorError`."""
    try:
        yield
    except urllib.error.HTTPError as error:
        error.close()
        raise _MirrorError(
            f"HTTP {error.code} {error.reason}",
            again=error.code in RETRIED_STATUS,
            absent=error.code in (http.client.NOT_FOUND, http.client.GONE),
        ) from None
    except UnwritableError:  # the disk's, not the network's
        raise
    except urllib.error.URLError as error:
        raise _MirrorError(str(getattr(error.reason, "strerror", None) or error.reason), again=True) from None
    except (OSError, http.client.HTTPException) as error:
        raise _MirrorError(str(getattr(error, "strerror", None) or error or type(error).__name__), again=True) from None
