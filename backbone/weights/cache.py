"""Public weights by name, on this machine: downloaded once, checked every time."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from backbone.disk import digest_of, writing
from backbone.errors import InputError
from backbone.weights.download import AbsentError, fetch
from backbone.weights.registry import KNOWN, files_of

if TYPE_CHECKING:
    from backbone.disk import Progress
    from backbone.weights.registry import RemoteFile

SHA256_DIGITS = 64


def cache_folder() -> Path:
    """Folder of the downloads: TRIDENT_CACHE, else the platform's folder for caches."""
    if told := os.environ.get("TRIDENT_CACHE"):
        return Path(told)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "trident" / "Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "trident"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "trident"


def is_name(source: str) -> bool:
    """Whether `source` is `source:name` rather than the path of a file."""
    before, colon, _ = source.partition(":")
    word = re.fullmatch(r"[A-Za-z][\w-]+", before)  # one letter is a drive of Windows
    return bool(colon) and word is not None and (before in KNOWN or not Path(source).exists())


def download(source: str, progress: Progress | None = None) -> tuple[Path, str]:
    """Path of the file of `source:name`, downloaded if need be, and how it was checked, in words.

    Raises:
        InputError: no such name; the file cannot be had, or is another than was published or pinned.
    """
    before, _, name = source.partition(":")
    folder = cache_folder() / "weights" / before / name.replace("/", "--")
    files = files_of(before, name)
    present = [file for file in files if (folder / file.name).exists()]
    failures = []
    for file in present or files:
        try:
            return _fetch(file, folder, progress)
        except AbsentError as absent:
            failures.append(str(absent))
    raise InputError(f"weights {source}: {'; '.join(failures)}")


def _fetch(file: RemoteFile, folder: Path, progress: Progress | None) -> tuple[Path, str]:
    path = folder / file.name
    if file.sha256 is not None:
        fetch([file.url], path, sha256=file.sha256, progress=progress)
        return path, f"sha256 begins with the published {file.sha256}"
    pin = folder / f"{file.name}.sha256"
    if pin.exists():
        digest = _pinned(pin)
        try:
            fetch([file.url], path, sha256=digest, progress=progress)
        except InputError as error:
            raise InputError(
                f"{error}. The hash is the first download's; if the new file is right, remove {pin}"
            ) from None
        return path, f"no published hash: sha256 {digest} as recorded in {pin}"
    fetch([file.url], path, progress=progress)
    digest = digest_of(path)
    with writing(pin):
        pin.write_text(f"{digest}  {file.name}\n", encoding="utf-8")
    return path, f"no published hash: sha256 {digest} recorded in {pin}"


def _pinned(pin: Path) -> str:
    """Hash in a file such as `sha256sum` writes."""
    words = pin.read_text(encoding="utf-8", errors="replace").split()
    if not words or len(words[0]) != SHA256_DIGITS or set(words[0]) - set("0123456789abcdef"):
        raise InputError(f"{pin}: must begin with a sha256 in hexadecimal; remove it to record it anew")
    return words[0]
