"""Unpacks zip and tar archives: whole or not at all, and nothing outside the folder.

`unpack` writes to a hidden folder and moves what it holds to its place when everything is there.
"""

from __future__ import annotations

import contextlib
import filecmp
import functools
import lzma
import os
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, NamedTuple

from backbone.disk import writing
from backbone.errors import InputError
from backbone.weights.request import CHUNK
from tasks.data.files.download import transfer_bar

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from rich.console import Console
    from rich.progress import Progress

BOMB_RATIO = 200
"""How many times its own size an archive may unpack to; annotations in JSON reach 5, masks in PNG 1."""
BOMB_FLOOR = 64 << 20
"""Bytes that any archive may unpack to."""


MAX_NAME = 255
"""Bytes of a file's name on common file systems."""
MAX_DEPTH = 32
"""Folders, one in the other."""


class _Member(NamedTuple):
    """A file or folder in an archive; `special` is a link or device."""

    name: str
    size: int
    is_folder: bool
    special: bool
    open: Callable[[], IO[bytes] | None]


def unpack(
    archive: str | Path, folder: str | Path, *, only: Collection[str] | None = None, console: Console | None = None
) -> list[Path]:
    """Unpack a zip or tar archive into `folder` and return the paths of its top level there.

    Everything is written to a hidden folder first and then moved: a file or folder that `folder` did not have appears
    whole or not at all. Files that are there with the same contents stay. An interrupted run is started anew.

    Args:
        only: names in the archive to unpack; None is all.
        console: where the progress bar is drawn; None is stderr.
    Raises:
        InputError: no archive, a broken one, a name of `only` that it does not hold; a name that leads out of the
            folder, occurs twice, or is none that file systems take, a link or device, sizes like a bomb's; a file that
            is there already with other contents; no space or no right to write. Nothing is left behind then.
    """
    archive, folder = Path(archive), Path(folder)
    if not archive.is_file():
        raise InputError(f"{archive}: there is no such archive; give the path of a zip or tar file")
    hidden = folder / f".{archive.name}.unpacking"
    try:
        with writing(folder):
            if hidden.exists():
                shutil.rmtree(hidden)
            hidden.mkdir(parents=True)
        with transfer_bar(console) as progress:
            _extract(archive, hidden, only, progress)
        with writing(folder):
            return _settle(archive, hidden, folder)
    finally:
        shutil.rmtree(hidden, ignore_errors=True)


def _extract(archive: Path, hidden: Path, only: Collection[str] | None, progress: Progress) -> None:
    task = progress.add_task(f"{archive.name} (unpacking)", total=None)
    limit = max(BOMB_FLOOR, BOMB_RATIO * archive.stat().st_size)
    total, missing = 0, set(only or ())
    for member in _members(archive):
        target = hidden.joinpath(*_safe_parts(archive, member))
        if only is not None and member.name not in only:
            continue
        missing.discard(member.name)
        if member.special:
            raise InputError(f"{archive}: {member.name!r} is a link or device; unpack it by hand if you trust it")
        total += member.size
        if total > limit:
            raise InputError(
                f"{archive}: unpacks to more than {limit} bytes, {BOMB_RATIO} times its size; unpack it by hand if you "
                f"trust it"
            )
        with writing(target):
            (target if member.is_folder else target.parent).mkdir(parents=True, exist_ok=True)
        if member.is_folder:
            continue
        if target.exists():
            raise InputError(f"{archive}: {member.name!r} is in it twice, for this file system; unpack it by hand")
        with _reading(archive, member.name):
            source = member.open()
        assert source is not None, "only links and devices have no contents"
        with source, writing(target), target.open("xb") as file:
            for block in _contents(archive, member.name, source):
                file.write(block)
                progress.advance(task, len(block))
    if missing:
        raise InputError(f"{archive}: does not hold {', '.join(sorted(missing))}; is it another archive of that name?")


def _members(archive: Path) -> Iterator[_Member]:
    """Files and folders in an archive, in its order."""
    with _reading(archive):
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as zipped:
                for info in zipped.infolist():
                    kind = stat.S_IFMT(info.external_attr >> 16)
                    special = kind not in (0, stat.S_IFREG, stat.S_IFDIR)
                    contents = functools.partial(zipped.open, info)
                    yield _Member(info.filename, info.file_size, info.filename.endswith("/"), special, contents)
        elif tarfile.is_tarfile(archive):
            with tarfile.open(archive) as tar:
                for entry in tar:
                    special = not (entry.isfile() or entry.isdir())
                    yield _Member(
                        entry.name, entry.size, entry.isdir(), special, functools.partial(tar.extractfile, entry)
                    )
        else:
            raise InputError(f"{archive}: is neither a zip nor a tar archive; remove it and download it again")


def _contents(archive: Path, name: str, source: IO[bytes]) -> Iterator[bytes]:
    """A member's bytes; zip's own checksum (CRC-32) is compared at its end."""
    while True:
        with _reading(archive, name):
            block = source.read(CHUNK)
        if not block:
            return
        yield block


@contextlib.contextmanager
def _reading(archive: Path, name: str = "") -> Iterator[None]:
    """Turns what a broken archive raises into one line."""
    broken = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, struct.error, EOFError, OSError)
    # RuntimeError: encrypted; NotImplementedError (one of those): a compression that zipfile does not know; the others:
    # numbers and texts in headers that are none.
    try:
        yield
    except InputError:
        raise
    except (*broken, RuntimeError, ValueError, ArithmeticError, LookupError) as error:
        inside = f": {name!r}" if name else ""
        raise InputError(f"{archive}{inside}: cannot be unpacked ({error}); remove it and download it again") from None


def _safe_parts(archive: Path, member: _Member) -> tuple[str, ...]:
    """Parts of a name that stays inside the folder on any system, and that file systems take."""
    name = member.name
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or any(":" in part for part in path.parts[:1]):
        raise InputError(
            f"{archive}: {name!r} leads out of the folder; nothing was unpacked, do not trust this archive"
        )
    nameless = not path.parts and not member.is_folder  # "./" is the folder itself
    too_long = len(path.parts) > MAX_DEPTH or any(len(os.fsencode(part)) > MAX_NAME for part in path.parts)
    if nameless or too_long or "\0" in name:
        raise InputError(
            f"{archive}: {name[:40]!r} ({len(name)} characters) is no name for a file: it must have 1 .. {MAX_NAME}"
            f" bytes in each of at most {MAX_DEPTH} parts; nothing was unpacked, unpack it by hand"
        )
    return path.parts


def _settle(archive: Path, hidden: Path, folder: Path) -> list[Path]:
    """Move everything to its place: whole where nothing is there, else file by file, replacing nothing."""
    moves, tops = [], []
    for top in sorted(hidden.iterdir()):
        place = folder / top.name
        tops.append(place)
        inside = [top] if top.is_file() or not place.exists() else [f for f in top.rglob("*") if f.is_file()]
        for source in inside:
            target = folder / source.relative_to(hidden)
            if not target.exists():
                moves.append((source, target))
            elif not (target.is_file() and filecmp.cmp(source, target, shallow=False)):
                raise InputError(
                    f"{target}: is there already and differs from the one in {archive}; move it away, or use the "
                    f"folder as it is"
                )
    for source, target in moves:
        target.parent.mkdir(parents=True, exist_ok=True)
        source.rename(target)
    return tops
