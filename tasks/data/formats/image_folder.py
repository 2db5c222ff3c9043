"""Any folder of images: `train/{class}/*`, `val/{class}/*` and, if it is there, `test/{class}/*`.

A class may have folders of its own below. Names that start with a dot, and `Thumbs.db`, are left by file browsers and
pass without a word; other files that are no images by their suffix are counted and reported.
"""

from __future__ import annotations

import logging
import os
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from backbone.errors import InputError
from tasks.data.checks import require_folder, require_root
from tasks.data.datasets.classification import ClassificationDataset
from tasks.data.faults import caution, fault
from tasks.data.files.boundary import Boundary, files_below, is_folder, visible
from tasks.data.files.images import is_image
from tasks.data.labels import LabelMap
from tasks.data.split_names import DIVIDE, split_names
from tasks.data.splits import DataSplits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tasks.data.config import FolderConfig

log = logging.getLogger(__name__)

LAYOUT = "images as train/CLASS/*.jpg and val/CLASS/*.jpg"
REMEDY = "data.root=FOLDER names the data set"
SPLIT_REMEDY = f"{REMEDY}, data.train_split and so on its parts; {DIVIDE}"


class Places(NamedTuple):
    """Folders of the splits; `test` is None where there is none."""

    train: Path
    val: Path
    test: Path | None


@dataclass(slots=True)
class Listing:
    """The images of a split.

    Attributes:
        folder: of the split.
        classes: names of the classes, sorted.
        names: of the files, relative to `folder`, sorted within each class.
        owner: position of each file's class in `classes`.
    """

    folder: Path
    classes: list[str]
    names: list[str]
    owner: list[int]

    def leave_out(self, classes: Sequence[str]) -> None:
        """Forget these classes and their images."""
        kept = [(name, self.classes[number]) for name, number in zip(self.names, self.owner, strict=True)]
        kept = [(name, owner) for name, owner in kept if owner not in classes]
        self.classes = [name for name in self.classes if name not in classes]
        self.names = [name for name, _ in kept]
        self.owner = [self.classes.index(owner) for _, owner in kept]


def build_splits(config: FolderConfig, *, need_train: bool = True) -> DataSplits:
    """Train, val and, if it is there, test. The classes are the folders of train, sorted by name.

    With `data.split` train and val are the folder of train, or where there is none, all of `root`.

    Args:
        need_train: False allows train to be absent: it is empty then, and the classes are the folders of val.

    Raises:
        InputError: a folder is absent or has no image, or a split has a class that train lacks.
    """
    root = Path(require_root(config.root, LAYOUT, REMEDY))
    boundary = Boundary(root, config.outside_root)
    places = find_splits(config, root)
    train = None
    if need_train or places.train.is_dir():
        train = list_classes(places.train, boundary)
    val = train if train is not None and places.val == places.train else list_classes(places.val, boundary)
    test = None if places.test is None else list_classes(places.test, boundary)
    known = train or val
    labels = LabelMap.numbered(known.classes)

    def dataset(split: Listing) -> ClassificationDataset:
        indices = class_indices(split, labels.names, f"{known.folder} has no folder of that name")
        return ClassificationDataset(split.folder, split.names, indices, labels, config.max_megapixels)

    absent = Listing(places.train, [], [], [])
    return DataSplits(
        train=dataset(train or absent), val=dataset(val), test=dataset(test) if test else None, labels=labels
    )


def find_splits(config: FolderConfig, root: Path) -> Places:
    """Where the splits are, or would be.

    Raises:
        InputError: see `split_names`.
    """
    train, val, test = split_names(config, lambda split: (root / split).is_dir())
    of_test = None if test is None else root / test
    if config.split is None:
        return Places(root / train, root / val, of_test)
    whole = root / train if (root / train).is_dir() else root
    return Places(whole, whole, of_test)


def read_split(folder: Path, names: Sequence[str], max_megapixels: float) -> ClassificationDataset:
    """One split of known classes, of which some may have no folder."""
    listing = list_classes(folder, Boundary(folder))
    indices = class_indices(listing, names, f"the classes are {', '.join(names)}")
    return ClassificationDataset(listing.folder, listing.names, indices, LabelMap.numbered(names), max_megapixels)


def list_classes(folder: Path, boundary: Boundary) -> Listing:
    """The class folders of a split and their images.

    Raises:
        InputError: there is no such folder, no class folder in it, or no image in one of those; or two of them have
            the same name in Unicode, or one has none.
    """
    require_folder(folder, "a folder for each class", SPLIT_REMEDY)
    boundary.report([] if boundary.holds(folder) else [folder])
    found = [entry for entry in visible(folder) if is_folder(entry)]
    boundary.report([entry.path for entry in found if entry.is_symlink() and not boundary.holds(entry.path)])
    found = [entry for entry in found if not entry.is_symlink() or boundary.holds(entry.path)]
    folders = {_class_name(entry): entry for entry in found}
    if not folders:
        raise InputError(f"{folder}: has no class folder; {LAYOUT} are expected: {REMEDY}")
    if len(folders) < len(found):
        raise InputError(f"{folder}: two folders differ only in how Unicode writes their name; put them together")
    listing = Listing(folder, sorted(folders), [], [])
    others: list[str] = []
    for number, name in enumerate(listing.classes):
        files = files_below(folders[name].path, boundary)
        images = sorted(file for file in files if is_image(file))
        if not images:
            others_there = f", only others such as {files[0]}" if files else ""
            text = f"{folders[name].path}: has no image{others_there}; add images of the class or remove the folder"
            fault("class without images", text, [folders[name].path])
        others.extend(file for file in files if not is_image(file))
        listing.names.extend(os.path.relpath(file, folder) for file in images)
        listing.owner.extend([number] * len(images))
    if others:
        others.sort()
        text = f"{folder}: {len(others)} files are no images by their suffix and are left out; the first is {others[0]}"
        caution("file that is no image", text, others)
    return listing


def class_indices(listing: Listing, names: Sequence[str], lacking: str) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """(N,) place of every image's class among `names`; where faults are collected, unknown classes leave `listing`.

    Args:
        lacking: says what is wrong with a class that is not among them.

    Raises:
        InputError: a class is not among them.
    """
    places = {name: place for place, name in enumerate(names)}
    strange = [name for name in listing.classes if name not in places]
    if strange:
        more = f" and {len(strange) - 1} more" if len(strange) > 1 else ""
        text = f"{listing.folder / strange[0]}: this class{more} is unknown: {lacking}; add it there or remove it here"
        fault("unknown class", text, [str(listing.folder / name) for name in strange])
        listing.leave_out(strange)
    table = np.array([places[name] for name in listing.classes], dtype=np.int64)
    return table[np.array(listing.owner, dtype=np.int64)]


def _class_name(entry: os.DirEntry[str]) -> str:
    """Composed as one would type it; systems differ in how they write an accent."""
    try:
        entry.name.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(
            f"{entry.path!a}: this folder's name is no UTF-8, so the class has no name; rename it"
        ) from error
    return unicodedata.normalize("NFC", entry.name)
