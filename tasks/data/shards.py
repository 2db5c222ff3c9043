"""Tar shards in WebDataset's layout, read at any place.

The libraries for such shards do not fit here. `webdataset` streams: it mixes what a buffer holds, so a run that was
interrupted cannot go on at the very next image, and an epoch cannot be divided exactly. `wids` does read at any place,
but copies every local shard into a cache first and lists it anew in every process. An image in a plain tar is a range
of bytes; `tasks.data.tar_index` knows it.

Letters: N images.
"""

from __future__ import annotations

import glob
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from torch.utils.data import Dataset

from backbone.errors import InputError
from tasks.data.checks import require_root
from tasks.data.encoded import EncodedImage, EncodedSample
from tasks.data.images import REMEDY as REPLACE
from tasks.data.labels import LabelMap
from tasks.data.sample import Sample
from tasks.data.splits import DataSplits
from tasks.data.tar_index import TarIndex, read_index

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tasks.data.config import ShardsConfig

LAYOUT = "tar shards"
REMEDY = "data.root=FOLDER names the data set"
CLASS_NAMES = "classes.txt"
RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")

Kind = TypeVar("Kind", bound=np.generic)


class ShardDataset(Dataset[Sample]):
    """The images of several shards, in their order. The id of an image is its position.

    Args:
        shards: where the images lie.
        labels: of the whole data set.
        max_megapixels: larger pictures are refused when they are read.

    Raises:
        InputError: a shard states a class that `labels` has not.
    """

    def __init__(self, shards: Sequence[TarIndex], labels: LabelMap, max_megapixels: float) -> None:
        for shard in shards:
            largest = int(shard.classes.argmax())
            if shard.classes[largest] >= labels.num_classes:
                raise InputError(
                    f"{shard.path}: {shard.names[largest].decode()} is of class {shard.classes[largest]}, and there are"
                    f" {labels.num_classes} classes, counted from 0; name all by data.classes=[...] or {CLASS_NAMES}"
                )
        self.labels = labels
        self._paths = np.array([os.fsencode(shard.path) for shard in shards], dtype=np.bytes_)
        self._starts = np.cumsum([0, *(len(shard.classes) for shard in shards)])
        self._names = _joined([shard.names for shard in shards], np.bytes_)
        self._offsets = _joined([shard.offsets for shard in shards], np.int64)
        self._lengths = _joined([shard.lengths for shard in shards], np.int64)
        self._classes = _joined([shard.classes for shard in shards], np.int64)
        self._max_megapixels = max_megapixels

    def __len__(self) -> int:
        return len(self._classes)

    def path(self, index: int) -> Path:
        """Of the shard, and below it the name within."""
        return self._shard(index).joinpath(self._names[index].decode())

    def classes(self) -> NDArray[np.int64]:
        """(N,) class index of every image, without reading it."""
        return self._classes

    def encoded(self, index: int) -> EncodedSample:
        """Read a file without decoding it.

        Raises:
            InputError: the shard cannot be read or was cut off, or the file is no image or has too many pixels.
        """
        shard, length = self._shard(index), int(self._lengths[index])
        try:
            with shard.open("rb", buffering=0) as file:
                file.seek(int(self._offsets[index]))
                data = file.read(length)
        except OSError as error:
            raise InputError(f"{shard}: cannot be read ({error.strerror}); {REPLACE}") from error
        if len(data) < length:
            raise InputError(f"{self.path(index)}: {length - len(data)} bytes are missing; the shard was cut off since")
        return EncodedSample(
            image=EncodedImage(self.path(index), data, self._max_megapixels),
            image_id=index,
            class_index=int(self._classes[index]),
        )

    def __getitem__(self, index: int) -> Sample:
        """Read an image.

        Raises:
            InputError: as `encoded`, or the file is broken.
        """
        sample = self.encoded(index)
        return sample.with_pixels(sample.image.decode())

    def _shard(self, index: int) -> Path:
        if not 0 <= index < len(self):
            raise IndexError(f"image {index}: must be in 0 .. {len(self) - 1}")
        return Path(os.fsdecode(bytes(self._paths[np.searchsorted(self._starts, index, side="right") - 1])))


def build_splits(config: ShardsConfig, *, need_train: bool = True) -> DataSplits:
    """Train and val.

    The classes are `data.classes`; or the lines of `classes.txt`; or, called by their numbers, 0 up to the largest
    that occurs.

    Args:
        need_train: False allows that there is no training shard; train is empty then.

    Raises:
        InputError: there is no shard, a shard is broken, or a class has no name.
    """
    root = Path(require_root(config.root, LAYOUT, REMEDY))
    train_paths = find_shards(root, config.train_shards)
    if need_train or train_paths:
        _require(train_paths, root, "train_shards", config.train_shards)
    val_paths = find_shards(root, config.val_shards)
    _require(val_paths, root, "val_shards", config.val_shards)
    train, val = ([read_index(path) for path in paths] for paths in (train_paths, val_paths))
    names = config.classes or _class_names(root / CLASS_NAMES)
    if names is None:
        names = [str(number) for number in range(max(int(shard.classes.max()) for shard in train + val) + 1)]
    labels = LabelMap(names, range(len(names)))
    splits = [ShardDataset(shards, labels, config.max_megapixels) for shards in (train, val)]
    return DataSplits(train=splits[0], val=splits[1], test=None, labels=labels)


def find_shards(root: Path, patterns: Sequence[str]) -> list[Path]:
    """Files that fit a pattern, each once, sorted. Patterns are relative to `root` or absolute; `{000..146}` counts."""
    found = {
        Path(path)
        for pattern in patterns
        for part in _counted(pattern)
        for path in glob.glob(str(root / part))  # noqa: PTH207
    }
    return sorted(found)


def _counted(pattern: str) -> list[str]:
    match = RANGE.search(pattern)
    if match is None:
        return [pattern]
    numbers = range(int(match[1]), int(match[2]) + 1)
    counted = (f"{pattern[: match.start()]}{number:0{len(match[1])}}{pattern[match.end() :]}" for number in numbers)
    return [part for once in counted for part in _counted(once)]


def _require(paths: list[Path], root: Path, argument: str, patterns: Sequence[str]) -> None:
    if not paths:
        raise InputError(
            f"data.{argument}={list(patterns)}: no file under {root} fits; give patterns such as train-*.tar, or"
            " absolute ones where shards lie on several disks"
        )


def _class_names(file: Path) -> list[str] | None:
    if not file.is_file():
        return None
    return [line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]


def _joined(parts: list[NDArray[Any]], dtype: type[Kind]) -> NDArray[Kind]:
    return np.concatenate(parts) if parts else np.zeros(0, dtype=dtype)
