"""Tar shards in WebDataset's layout, read at any place.

The libraries for such shards do not fit here. `webdataset` streams: it mixes what a buffer holds, so a run that was
interrupted cannot go on at the very next image, and an epoch cannot be divided exactly. `wids` does read at any place,
but copies every local shard into a cache first and lists it anew in every process. An image in a plain tar is a range
of bytes; `tasks.data.formats.shards.index` knows it.

Shapes: N images.
"""

from __future__ import annotations

import glob
import re
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from backbone.errors import InputError
from tasks.data.checks import require_root
from tasks.data.files.contents import read_text
from tasks.data.files.encoded import EncodedImage, EncodedSample
from tasks.data.formats.shards.files import ShardFiles, joined
from tasks.data.formats.shards.index import TarIndex, read_index
from tasks.data.formats.shards.manifest import compare
from tasks.data.labels import LabelMap
from tasks.data.splits import DataSplits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tasks.data.config import ShardsConfig
    from tasks.data.sample import Sample

LAYOUT = "tar shards"
REMEDY = "data.root=FOLDER names the data set"
CLASS_NAMES = "classes.txt"
RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")


class ShardDataset:
    """The images of several shards, in their order. The id of an image is its position.

    Args:
        shards: where the images lie.
        labels: of the whole data set.
        max_megapixels: larger images are refused when they are read.

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
        self._files = ShardFiles([(shard.path, shard.names, shard.offsets, shard.lengths) for shard in shards])
        self._classes = joined([shard.classes for shard in shards], np.int64)
        self._max_megapixels = max_megapixels

    def __len__(self) -> int:
        return len(self._classes)

    def path(self, index: int) -> Path:
        """Path of the shard, and below it the name within."""
        return self._files.path(index)

    def classes(self) -> NDArray[np.int64]:
        """(N,) class index of every image, without reading it."""
        return self._classes

    def encoded(self, index: int) -> EncodedSample:
        """Read a file without decoding it.

        Raises:
            InputError: the shard cannot be read or was cut off, or the file is no image or has too many pixels.
        """
        return EncodedSample(
            image=EncodedImage(self.path(index), self._files.read(index), self._max_megapixels),
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


def build_splits(config: ShardsConfig, *, need_train: bool = True) -> DataSplits:
    """Train and val.

    The classes are `data.classes`; or the manifest's; or the lines of `classes.txt`; or, called by their numbers,
    0 up to the largest that occurs.

    Args:
        need_train: False allows that there is no training shard; train is empty then.

    Raises:
        InputError: there is no shard, a shard is broken, or a class has no name.
    """
    train, val = found_splits(config, "classification", need_train=need_train)
    shards = [[read_index(path, split.sha256.get(path)) for path in split.paths] for split in (train, val)]
    root = Path(str(config.root))
    names = config.classes or _class_names(root / CLASS_NAMES)
    if val.labels is not None and not config.classes:
        labels = val.labels
    else:
        if names is None:
            names = [str(number) for number in range(max(int(one.classes.max()) for one in chain(*shards)) + 1)]
        labels = LabelMap.indexed(names)
    splits = [ShardDataset(of_split, labels, config.max_megapixels) for of_split in shards]
    return DataSplits(train=splits[0], val=splits[1], test=None, labels=labels)


@dataclass(slots=True)
class FoundSplit:
    """The shards of a split, compared with their manifest where they have one.

    Attributes:
        sha256: by shard, of those that a manifest lists.
        labels: as the manifest has them; None without one.
    """

    paths: list[Path]
    sha256: dict[Path, str]
    labels: LabelMap | None


def found_splits(config: ShardsConfig, kind: str, *, need_train: bool) -> tuple[FoundSplit, FoundSplit]:
    """Train and val.

    Args:
        kind: what the images must be labelled for.

    Raises:
        InputError: there is no shard, one is missing or is not as it was written, or they are of another kind or of
            other classes.
    """
    root = Path(require_root(config.root, LAYOUT, REMEDY))
    train = _find_split(root, config.train_shards, kind)
    if need_train or train.paths:
        _require(train.paths, root, "train_shards", config.train_shards)
    val = _find_split(root, config.val_shards, kind)
    _require(val.paths, root, "val_shards", config.val_shards)
    if train.paths and train.labels != val.labels:
        raise InputError(f"{root}: the manifests of train and val have other classes; write both by one mode=pack")
    return train, val


def _find_split(root: Path, patterns: Sequence[str], kind: str) -> FoundSplit:
    paths = find_shards(root, patterns)
    known = compare(root, [part for pattern in patterns for part in _counted(pattern)], paths)
    labels = None
    for file, manifest in known.manifests.items():
        if manifest.kind != kind:
            raise InputError(f"{file}: has labels for task={manifest.kind}, not task={kind}; say that, or other shards")
        labels = LabelMap.from_plain(manifest.labels)
    return FoundSplit(paths, known.sha256, labels)


def find_shards(root: Path, patterns: Sequence[str]) -> list[Path]:
    """Files that fit a pattern, each once, sorted. Patterns are relative to `root` or absolute; `{000..146}` counts.

    Raises:
        InputError: a counted file is missing.
    """
    found: set[Path] = set()
    for pattern in patterns:
        for part in _counted(pattern):
            here = glob.glob(str(root / part))  # noqa: PTH207
            if not here and part != pattern and not glob.has_magic(part):
                raise InputError(f"{root / part}: this shard is missing, {pattern} counts it; copy it, or count others")
            found.update(map(Path, here))
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
    return [line.strip() for line in read_text(file, "write it again").splitlines() if line.strip()]
