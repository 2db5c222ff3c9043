"""Gets one file over HTTP: resumable, checked, and complete or not there at all. Standard library only.

`fetch` writes to `NAME.part` and gives the file its name when its hash is right.
"""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from backbone.disk import Progress, digest_of, writing
from backbone.errors import InputError
from backbone.weights.request import MIN_RATE, MirrorError, ascii_address, forget, receive, version_file

if TYPE_CHECKING:
    from collections.abc import Sequence

logger = logging.getLogger(__name__)

MAX_BACKOFF_S = 30.0


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
    earlier run left in `NAME.part` is continued with an HTTP range, if the server honours it and, as far as it says so,
    still has the same version of the file. Without a `size` at most `MAX_BYTES` are taken.

    Args:
        urls: mirrors of the same file, http or https, tried in order.
        sha256, md5: in hexadecimal, whole or the first digits; size: bytes. What is None is not checked.
        attempts: failures in a row, with hardly a new byte in between, after which a mirror is given up.
        backoff_s: seconds before the second attempt; doubles with every further one, up to 30.
        timeout_s: seconds without a byte, or with hardly one, after which an attempt has failed.
        progress: told of every block.
    Raises:
        AbsentError: no mirror has such a file.
        InputError: no mirror delivered (why is said of each; the partial file stays), a wrong checksum (the partial
            file is removed), no space or no right to write.
    """
    path, checks = Path(path), Checks(sha256, md5, size)
    try:
        addresses = [ascii_address(url) for url in urls]
    except InputError as error:
        raise InputError(f"download of {path.name}: {error}") from None
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
    for url, address in zip(urls, addresses, strict=True):
        try:
            _fetch_one(address, part, checks, attempts, backoff_s, timeout_s, progress)
        except MirrorError as failure:
            logger.warning("%s: %s", url, failure)
            failures.append(f"{url}: {failure}")
            absent = absent and failure.absent
            continue
        with writing(path):
            part.replace(path)
            version_file(part).unlink(missing_ok=True)
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
        MirrorError: it cannot; the partial file stays, unless its checksum is wrong.
    """
    most = _size(part)
    resumed = most > 0
    hashed = checks.sha256 is not None or checks.md5 is not None
    failed, began = 0, time.monotonic()
    while True:
        try:
            receive(url, part, size=checks.size, hashed=hashed, timeout_s=timeout_s, progress=progress)
        except MirrorError as failure:
            grown, now = _size(part) - most, time.monotonic()
            failed = 1 if grown > MIN_RATE * (now - began) else failed + 1
            most, began = max(most, _size(part)), now
            if not failure.again or failed >= attempts:
                raise
            wait = min(MAX_BACKOFF_S, backoff_s * 2 ** (failed - 1))
            logger.info("%s: %s; again in %.0f s", url, failure, wait)
            time.sleep(wait)
            continue
        wrong = checks.wrong(part, progress)
        if wrong is None:
            return
        forget(part)
        if not resumed:
            raise MirrorError(f"{wrong}; the partial file was removed", again=False)
        logger.warning("%s: %s, after going on with what an earlier run had left; starting from zero", url, wrong)
        resumed = False


def _size(part: Path) -> int:
    """Bytes of what has arrived."""
    return part.stat().st_size if part.exists() else 0
