"""What a source is: a list of images, or a video."""

from __future__ import annotations

import errno
import glob
import itertools
import logging
import os
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from backbone.errors import InputError
from tasks.data.files.contents import read_text
from tasks.data.files.images import SUFFIXES, is_image

if TYPE_CHECKING:
    from collections.abc import Iterable

log = logging.getLogger(__name__)

CAMERA = re.compile(r"camera:(\d+)")
VIDEO_SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".ts", ".mts", ".wmv", ".flv", ".ogv", ".3gp"}
)
LIST_SUFFIX = ".txt"
ALLOWED = "an image, a folder, a pattern such as photos/*.jpg, an address, a list of those (.txt), a video or camera:0"
STRANGE = re.compile(r"[^\w.\- ]+")
"""What the names of files that are made from addresses should not have."""
MAX_DIGITS = 4
"""Digits of a camera's number, at most."""
MAX_NAME = 100
UNNAMED = "picture"
"""Name of results whose source gives none."""


@dataclass(slots=True, frozen=True)
class ImageSource:
    """One image that is asked for.

    Attributes:
        file: what it is called in results: its place below the folder, or the line of a list. Unique in a source.
        where: path or address.
    """

    file: str
    where: str


@dataclass(slots=True, frozen=True)
class Video:
    """A video file, or a camera by its number."""

    name: str
    where: str | int


def find(source: str, without: Path | None = None) -> list[ImageSource] | Video:
    """The images of a source, sorted where it does not order them itself.

    Args:
        without: a folder whose contents are left out: that of the results.
    Raises:
        InputError: there is nothing, or nothing that is an image; the message says what was there.
    """
    if camera := CAMERA.fullmatch(source):
        if len(camera[1]) > MAX_DIGITS:
            raise InputError(f"source={source[:MAX_NAME]}: there is no camera of that number; they count from 0")
        return Video(f"camera{camera[1]}", int(camera[1]))
    if is_address(source):
        return [ImageSource(source, source)]
    path = Path(source)
    try:
        path.stat()
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise InputError(f"source={source[:MAX_NAME]}..: is longer than names of files can be") from None
    except ValueError:
        raise InputError(f"source={source!r}: is no name of a file; give {ALLOWED}") from None
    if path.is_dir():
        return _images_of(source, path, _below(path), without)
    if path.is_file():
        if path.suffix.lower() in VIDEO_SUFFIXES:
            return Video(path.stem, source)
        return _listed(path) if path.suffix.lower() == LIST_SUFFIX else [ImageSource(path.name, source)]
    if glob.has_magic(source):
        found = (file for file in glob.iglob(source, recursive=True) if Path(file).is_file())  # noqa: PTH207
        return _images_of(source, _fixed_part(source), found, without)
    raise InputError(f"source={source}: there is no such file or folder; give {ALLOWED}")


def is_address(text: str) -> bool:
    """Whether a text is an http or https address."""
    return text.startswith(("http://", "https://"))


def output_stem(file: str) -> PurePosixPath:
    """Relative path, with its suffix, under which the results of an image are kept, before it is made unique.

    An address gives its last part; a path that is absolute or leads upwards, the name of the file.
    """
    if is_address(file):
        name = STRANGE.sub("_", unquote(_path_of(file).rstrip("/").rpartition("/")[2]))[-MAX_NAME:].strip(". ")
        return PurePosixPath(name or UNNAMED)
    path = PurePosixPath(Path(file.replace("\0", "_")).as_posix())
    inside = not (path.is_absolute() or Path(file).drive or ".." in path.parts)
    name = path.name.strip(".")
    return (path if inside else PurePosixPath(path.name)) if name else PurePosixPath(UNNAMED)


def _path_of(address: str) -> str:
    """The part of an address behind its host; empty if it is malformed, which the one who opens it will say."""
    try:
        return urlsplit(address).path
    except ValueError:
        return ""


class Names:
    """Gives every image a name of its own for its results, without a suffix.

    `a/b.jpg` becomes `a/b`; `a/b.png` beside it `a/b.png`, and what collides still gets a number. Names that differ in
    upper and lower case only collide, as they do on some file systems.
    """

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def keep(self, name: str) -> None:
        """Remember a name that was given in an earlier run."""
        self._taken.add(name.lower())

    def give(self, file: str) -> str:
        whole = output_stem(file)
        stem = whole.with_suffix("")
        short = str(stem if stem.name.strip(".") else whole)
        numbered = (f"{short}_{number}" for number in itertools.count(2))
        candidates = itertools.chain((short, str(whole)), numbered)
        name = next(name for name in candidates if name.lower() not in self._taken)
        self.keep(name)
        return name


def _images_of(source: str, root: Path, files: Iterable[str], without: Path | None) -> list[ImageSource]:
    """Files that are images by their suffix; the others are counted."""
    mine = None if without is None else os.path.abspath(without) + os.sep  # noqa: PTH100
    images, others = [], []
    for file in files:
        if mine and os.path.abspath(file).startswith(mine):  # noqa: PTH100
            continue
        if is_image(file):
            images.append(ImageSource(Path(os.path.relpath(file, root)).as_posix(), file))
        else:
            others.append(file)
    if not images:
        found = f"{len(others)} files that are none by their suffix, such as {min(others)}" if others else "nothing"
        raise InputError(
            f"source={source}: no images there, {found}; images end in {', '.join(sorted(SUFFIXES))}, and a video"
            " is given by its own name"
        )
    if others:
        log.warning(
            "%s: %d files are no images by their suffix and are left out; the first is %s",
            source, len(others), min(others),
        )  # fmt: skip
    return sorted(images, key=lambda image: image.file)


def _below(root: Path) -> Iterable[str]:
    """Files of a folder and of its sub-folders, also linked ones, each folder once."""
    seen: set[str] = set()
    for folder, folders, names in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        yield from (os.path.join(folder, name) for name in names if not name.startswith("."))  # noqa: PTH118


def _fixed_part(pattern: str) -> Path:
    """The folder that all matches of a pattern lie in, as far as the pattern says it."""
    parts = Path(pattern).parts
    fixed = next(n for n, part in enumerate(parts) if glob.has_magic(part))
    return Path(*parts[:fixed]) if fixed else Path()


def _listed(listing: Path) -> list[ImageSource]:
    """The lines of a text file; paths are relative to its folder. Empty lines and comments (#) do not count."""
    named = [line.strip() for line in read_text(listing, "write it again").splitlines()]
    named = [line for line in named if line and not line.startswith("#")]
    if not named:
        raise InputError(f"source={listing}: the list is empty; write one path or address on a line")
    unique = list(dict.fromkeys(named))
    if len(unique) < len(named):
        log.warning("%s: %d lines occur before and are left out", listing, len(named) - len(unique))
    return [ImageSource(line, line if is_address(line) else str(listing.parent / line)) for line in unique]
