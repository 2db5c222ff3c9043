"""Where the samples of a tar shard lie, kept beside it so that it is read through only once.

A sample is the run of files with the same name up to the first dot, as WebDataset has it: `000123.jpg`, `000123.cls`.
"""

from __future__ import annotations

import json
import logging
import os
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeAlias

import numpy as np

from backbone.errors import InputError
from tasks.data.image_folder import SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Members: TypeAlias = dict[str, tarfile.TarInfo]

log = logging.getLogger(__name__)

VERSION = 1
"""Of the index files; raised when what they hold changes."""
INDEX_SUFFIX = ".index.npz"
LABEL_KEYS = ("cls", "label")
"""Under which a `.json` file of a sample may state the class."""


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


def read_index(path: Path) -> TarIndex:
    """The index that is kept beside the shard, if the shard has not changed since; else a new one.

    Raises:
        InputError: see `index_tar`.
    """
    file = path.with_name(path.name + INDEX_SUFFIX)
    stamp = _stamp(path)
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as kept:
            if kept["stamp"].tolist() == stamp:
                return TarIndex(path, kept["names"], kept["offsets"], kept["lengths"], kept["classes"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        pass  # absent, broken or of another version: made anew
    index = index_tar(path)
    try:
        _write(file, index, stamp)
    except OSError as error:
        log.warning("%s: cannot be written (%s); the shard is read through at every start", file, error.strerror)
    return index


def index_tar(path: Path) -> TarIndex:
    """Read through a shard.

    Raises:
        InputError: the file is no uncompressed tar or is cut off, has no sample, or a sample has not one image and a
            class.
    """
    names, offsets, lengths, classes = [], [], [], []
    size = path.stat().st_size
    try:
        with path.open("rb") as file, tarfile.open(fileobj=file, mode="r:") as tar:
            for key, members in _samples(tar):
                suffix = _image_suffix(path, key, members)
                image = members[suffix]
                last = max(member.offset_data + member.size for member in members.values())
                if last > size:
                    raise InputError(f"{path}: is cut off in the sample {key}; replace the shard")
                names.append(f"{key}.{suffix}".encode())
                offsets.append(image.offset_data)
                lengths.append(image.size)
                classes.append(_class_of(path, key, members, file))
    except (OSError, tarfile.TarError) as error:
        raise InputError(
            f"{path}: is no tar, or compressed, or cut off ({error}); give whole, plain .tar files"
        ) from error
    if not names:
        raise InputError(f"{path}: holds no sample such as 000123.jpg with 000123.cls; remove the shard")
    numbers = (np.array(values, dtype=np.int64) for values in (offsets, lengths, classes))
    return TarIndex(path, np.array(names, dtype=np.bytes_), *numbers)


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


def _class_of(path: Path, key: str, members: Members, file: BinaryIO) -> int:
    """What `.cls` says, or `.json` under one of `LABEL_KEYS`."""
    suffix = next((suffix for suffix in ("cls", "json") if suffix in members), None)
    value: object = None
    if suffix is not None:
        member = members[suffix]
        file.seek(member.offset_data)
        data = file.read(member.size)
        try:
            value = json.loads(data)
        except ValueError:
            value = data.decode(errors="replace")
        if isinstance(value, dict):
            value = next((value[name] for name in LABEL_KEYS if name in value), None)
    if type(value) is not int or value < 0:
        raise InputError(
            f"{path}: the class of the sample {key} is {value!r}; a .cls file with a number from 0, or a .json file"
            f" with one under {' or '.join(map(repr, LABEL_KEYS))}, must say it: write the shard again"
        )
    return value


def _stamp(path: Path) -> list[int]:
    stat = path.stat()
    return [VERSION, stat.st_size, stat.st_mtime_ns]


def _write(file: Path, index: TarIndex, stamp: list[int]) -> None:
    """Whole or not at all: other processes may be reading."""
    with tempfile.NamedTemporaryFile(
        dir=file.parent, prefix=f".{file.name}-", suffix=".npz", delete=False
    ) as temporary:
        try:
            np.savez(
                temporary,
                stamp=np.array(stamp, dtype=np.int64),
                names=index.names,
                offsets=index.offsets,
                lengths=index.lengths,
                classes=index.classes,
            )
        except BaseException:
            Path(temporary.name).unlink()
            raise
    Path(temporary.name).replace(file)
