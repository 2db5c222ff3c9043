"""Where the samples of a tar shard lie, kept beside it so that it is read through only once.

A sample is the run of files with the same name up to the first dot, as WebDataset has it: `000123.jpg`, `000123.cls`.
"""

from __future__ import annotations

import hashlib
import logging
import os
import tarfile
import zipfile
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias

import numpy as np

from backbone.disk import whole_file
from backbone.errors import InputError
from tasks.data.files.contents import open_regular, parse_json, shown
from tasks.data.files.images import SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    Arrays: TypeAlias = dict[str, NDArray[Any]]
    Members: TypeAlias = dict[str, tarfile.TarInfo]

log = logging.getLogger(__name__)

VERSION = 1
"""Version of the index files; raised when what they hold changes."""
INDEX_SUFFIX = ".index.npz"
BROKEN_INDEX = (
    OSError, ValueError, TypeError, KeyError, EOFError, MemoryError, RuntimeError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
"""What reading a damaged file of arrays raises."""
MAX_CLASSES = 1_000_000
"""A class number from here on is taken for a damaged one: every class below it would get a name and a weight."""
LABEL_KEYS = ("cls", "label")
"""Keys under which a `.json` file of a sample may state the class."""


@dataclass(slots=True)
class TarIndex:
    """The images of one shard.

    Attributes:
        path: of the shard.
        names: (N,) of the image files, as UTF-8.
        offsets: (N,) int64, first byte of each in the shard.
        lengths: (N,) int64, its bytes.
        classes: (N,) int64, as the shard states them.
    """

    path: Path
    names: NDArray[np.bytes_]
    offsets: NDArray[np.int64]
    lengths: NDArray[np.int64]
    classes: NDArray[np.int64]


def read_index(path: Path, sha256: str | None = None) -> TarIndex:
    """The index that is kept beside the shard, if the shard has not changed since; else a new one.

    Args:
        sha256: what the shard's manifest says of it; compared when an index is made.

    Raises:
        InputError: see `index_tar` and `check_sha256`.
    """
    size = path.stat().st_size

    def fits(arrays: Arrays) -> bool:
        classes = arrays["classes"]
        return files_fit(arrays, size) and are_numbers(classes, len(arrays["names"]), 0, MAX_CLASSES)

    arrays = kept(path, INDEX_SUFFIX, lambda: _arrays(index_tar(path)), fits, sha256)
    return TarIndex(path, arrays["names"], arrays["offsets"], arrays["lengths"], arrays["classes"])


def kept(
    path: Path, suffix: str, make: Callable[[], Arrays], fits: Callable[[Arrays], bool], sha256: str | None
) -> Arrays:
    """Arrays about a shard, from the file of that suffix beside it if it is of this very shard; else made and kept.

    Args:
        fits: whether arrays from a file are such as `make` makes: it may be somebody else's.
        sha256: of the shard, which is compared before they are made; None: nobody knows.

    Raises:
        InputError: what `make` and `check_sha256` raise.
    """
    file = path.with_name(path.name + suffix)
    stamp = _stamp(path)
    try:
        with open_regular(file) as stream, np.load(stream, allow_pickle=False) as arrays:
            stored = all(info.compress_type == zipfile.ZIP_STORED for info in arrays.zip.infolist())  # no bomb
            if stored and arrays["stamp"].tolist() == stamp:
                found = {name: arrays[name] for name in arrays}
                if fits(found):
                    return found
    except BROKEN_INDEX:
        pass  # absent, broken or of another version: made anew
    if sha256 is not None:
        check_sha256(path, sha256)
    made = make()
    try:
        _write(file, made, stamp)
    except OSError as error:
        log.warning("%s: cannot be written (%s); the shard is read through at every start", file, error.strerror)
    return made


def files_fit(arrays: Arrays, size: int) -> bool:
    """Whether names, offsets and lengths are of files within a shard of so many bytes."""
    names, offsets, lengths = arrays["names"], arrays["offsets"], arrays["lengths"]
    if not (names.ndim == 1 and names.dtype.kind == "S" and len(names)):
        return False
    within = are_numbers(offsets, len(names), 0, size + 1) and are_numbers(lengths, len(names), 0, size + 1)
    return within and bool((offsets + lengths <= size).all())


def are_numbers(array: NDArray[Any], count: int, least: int, end: int) -> bool:
    """Whether an array holds so many whole numbers from `least`, below `end`."""
    if array.shape != (count,) or array.dtype != np.int64:
        return False
    return not count or bool(array.min() >= least and array.max() < end)


def check_sha256(path: Path, expected: str) -> None:
    """Read all of a shard.

    Raises:
        InputError: it is not what was written, or cannot be read.
    """
    try:
        with open_regular(path) as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); replace the shard") from error
    if found != expected:
        raise InputError(
            f"{path}: is damaged: its SHA-256 is {found[:16]}.., and its manifest says {expected[:16]}..; copy the"
            " shard again"
        )


def index_tar(path: Path) -> TarIndex:
    """Read through a shard.

    Raises:
        InputError: see `walk`; or a sample has no class.
    """
    names, offsets, lengths, classes = [], [], [], []
    for sample in walk(path):
        names.append(sample.name.encode())
        offsets.append(sample.image.offset_data)
        lengths.append(sample.image.size)
        classes.append(_class_of(sample))
    numbers = (np.array(values, dtype=np.int64) for values in (offsets, lengths, classes))
    return TarIndex(path, np.array(names, dtype=np.bytes_), *numbers)


@dataclass(slots=True)
class TarSample:
    """A sample while its shard is read through.

    Attributes:
        path: of the shard.
        key: what its files have in common.
        name: of the image file.
        image: where that lies.
    """

    path: Path
    key: str
    name: str
    image: tarfile.TarInfo
    _members: Members
    _file: BinaryIO

    def beside(self, *suffixes: str) -> bytes | None:
        """The file of the first of these suffixes that the sample has; None if it has none."""
        member = next((self._members[suffix] for suffix in suffixes if suffix in self._members), None)
        if member is None:
            return None
        self._file.seek(member.offset_data)
        return self._file.read(member.size)


def walk(path: Path) -> Iterator[TarSample]:
    """The samples of a shard, in its order.

    Raises:
        InputError: the file is no uncompressed tar or is cut off, has no sample, a sample has not one image, or a name
            leads out of the shard.
    """
    empty, size = True, path.stat().st_size
    try:
        with open_regular(path) as file, tarfile.open(fileobj=file, mode="r:") as tar:
            for key, members in _samples(tar):
                if key.startswith("/") or ".." in key.split("/"):
                    raise InputError(f"{path}: the name {key!r} leads out of the shard; it is not to be trusted")
                if not key.isprintable():  # bytes that are no UTF-8 among them
                    raise InputError(f"{path}: the name {key!a} is no plain text; write the shard again")
                suffix = _image_suffix(path, key, members)
                last = max(member.offset_data + member.size for member in members.values())
                if last > size:
                    raise InputError(f"{path}: is cut off in the sample {key}; replace the shard")
                yield TarSample(path, key, f"{key}.{suffix}", members[suffix], members, file)
                empty = False
    except (OSError, tarfile.TarError) as error:
        raise InputError(
            f"{path}: is no tar, or compressed, or cut off ({error}); give whole, plain .tar files"
        ) from error
    if empty:
        raise InputError(f"{path}: holds no sample such as 000123.jpg with 000123.cls; remove the shard")


def _samples(tar: tarfile.TarFile) -> Iterator[tuple[str, Members]]:
    """Files by their key, in the order of the shard."""
    key = ""
    members: Members = {}
    for member in tar:
        folder, name = os.path.split(member.name)
        stem, _, suffix = name.partition(".")
        # What starts with a dot or underscores are the archiver's notes.
        if not member.isfile() or not stem or stem.startswith("__"):
            continue
        found = f"{folder}/{stem}" if folder else stem
        if found != key and members:
            yield key, members
            members = {}
        key = found
        members[suffix.lower()] = member
    if members:
        yield key, members


def _image_suffix(path: Path, key: str, members: Members) -> str:
    suffixes = [suffix for suffix in members if f".{suffix}" in SUFFIXES]
    if len(suffixes) != 1:
        found = ", ".join(f".{suffix}" for suffix in members)
        raise InputError(
            f"{path}: the sample {key} has {len(suffixes)} images, not one, in its files ({found}); the files of a"
            " sample must follow each other: write the shard again"
        )
    return suffixes[0]


def _class_of(sample: TarSample) -> int:
    """What `.cls` says, or `.json` under one of `LABEL_KEYS`."""
    data = sample.beside("cls", "json")
    value: object = None
    if data is not None:
        try:
            value = parse_json(data)
        except ValueError:
            value = data.decode(errors="replace")
        if isinstance(value, dict):
            value = next((value[name] for name in LABEL_KEYS if name in value), None)
    if type(value) is not int or not 0 <= value < MAX_CLASSES:
        raise InputError(
            f"{sample.path}: the class of the sample {sample.key} is {shown(value)}; a .cls file with a number"
            f" from 0 to {MAX_CLASSES - 1}, or a .json file with one under {' or '.join(map(repr, LABEL_KEYS))}, must"
            " say it: write the shard again"
        )
    return value


def _stamp(path: Path) -> list[int]:
    stat = path.stat()
    return [VERSION, stat.st_size, stat.st_mtime_ns]


def _arrays(index: TarIndex) -> Arrays:
    return {"names": index.names, "offsets": index.offsets, "lengths": index.lengths, "classes": index.classes}


def _write(file: Path, arrays: Arrays, stamp: list[int]) -> None:
    """Write whole or not at all: other processes may be reading."""
    named: Any = arrays | {"stamp": np.array(stamp, dtype=np.int64)}
    with whole_file(file) as part, part.open("wb") as opened:
        np.savez(opened, **named)
