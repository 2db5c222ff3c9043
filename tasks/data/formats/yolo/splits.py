"""Splits of YOLO's text files, with boxes or with masks."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from backbone.errors import InputError
from tasks.data.checks import check_images_exist
from tasks.data.config import BadBoxes
from tasks.data.datasets.detection import Annotations, DetectionDataset, NoDetections
from tasks.data.datasets.outlined import Objects, OutlinedDataset
from tasks.data.faults import caution, each, fault
from tasks.data.files.boundary import Boundary, files_below
from tasks.data.files.contents import read_text
from tasks.data.files.images import is_image, read_size
from tasks.data.formats.coco.categories import BACKGROUND
from tasks.data.formats.coco.outlines import fault as outline_fault
from tasks.data.formats.yolo.description import FIX, describe, require_split
from tasks.data.formats.yolo.labels import Labels, read_labels
from tasks.data.labels import LabelMap
from tasks.data.split_names import split_names
from tasks.data.splits import DataSplits
from tasks.data.subset import of_classes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from tasks.data.config import YoloConfig
    from tasks.data.formats.yolo.description import Description
    from tasks.data.splits import VisionData

THREADS = 8
MANY = 0.2
"""Share of boxes with a number far above 1 from which on all are taken for pixels."""
FAR = 2.0


@dataclass(slots=True)
class Split:
    """What the files of a split say.

    Attributes:
        source: folder or list of images, for messages.
        images: relative to the root.
        notes: file of labels of each image; it may be missing.
        sizes: (N, 2) height and width in pixels.
        labels: of each image.
    """

    source: Path
    images: list[str]
    notes: list[Path]
    sizes: NDArray[np.int64]
    labels: list[Labels]

    def describe(self, object_: int) -> str:
        """Name of an object by its position in the split, in the order of images and lines."""
        for note, of_image in zip(self.notes, self.labels, strict=True):
            if object_ < len(of_image.lines):
                return f"line {of_image.lines[object_]} of {note}"
            object_ -= len(of_image.lines)
        raise IndexError(object_)


def build_boxes(config: YoloConfig, *, need_train: bool = True) -> DataSplits:
    """Train, val and, if it is there, test, with boxes. With `data.split` train and val are the whole data set.

    Args:
        need_train: False allows train to be absent; it is empty then.

    Raises:
        InputError: something is missing, or a line is wrong.
    """
    found = describe(config)
    labels = LabelMap.indexed(found.names)
    splits = _build(config, found, labels, lambda split: _boxes(split, found, labels, config.bad_boxes), need_train)
    return of_classes(splits, config.classes)


def build_masks(config: YoloConfig) -> DataSplits:
    """The same with masks, drawn from the outlines.

    Raises:
        InputError: as `build_boxes`; or an object has a box only, or `data.classes` names none of the data's.
    """
    found = describe(config)
    names = list(found.names if config.classes is None else config.classes)
    if strange := next((name for name in names if name not in found.names and name.lower() != BACKGROUND), None):
        raise InputError(f"data.classes: {strange} is no class of {found.file}; those are {', '.join(found.names)}")
    labels = LabelMap.indexed([BACKGROUND, *(name for name in names if name.lower() != BACKGROUND)])
    return _build(config, found, labels, lambda split: _masks(split, found, labels, config.bad_boxes), True)


def _build(
    config: YoloConfig, found: Description, labels: LabelMap, make: Callable[[Split], VisionData], need_train: bool
) -> DataSplits:
    boundary = Boundary(found.root, config.outside_root)
    names = split_names(config, lambda split: split in found.splits)

    def read(split: str) -> VisionData:
        return make(_read(found, require_split(found, split), boundary))

    test = None if names[2] is None else read(names[2])
    if config.split is not None:
        places = found.splits.get(names[0], found.others)
        if not places:
            require_split(found, names[0])
        whole = make(_read(found, places, boundary))
        return DataSplits(train=whole, val=whole, test=test, labels=labels)
    has_train = need_train or names[0] in found.splits
    train = read(names[0]) if has_train else NoDetections(labels)
    return DataSplits(train=train, val=read(names[1]), test=test, labels=labels)


def _read(found: Description, places: Sequence[Path], boundary: Boundary) -> Split:
    images = [image for place in places for image in _images(place, found, boundary)]
    if not images:
        raise InputError(f"{places[0]}: holds no image; add images, or correct {found.file}")
    names = [Path(image).as_posix() for image in images]
    check_images_exist(Path(), names, places[0], boundary)
    images = [image for image in images if image.is_file() and boundary.holds(image)]
    notes = [_note(image) for image in images]
    boundary.report([note for note in notes if not boundary.holds_file(note)])
    labels = []
    for note in notes:
        labels.append(Labels([], [], [], {}))
        with each("wrong line of labels", str(note)):
            labels[-1] = read_labels(note, len(found.names), found.columns)
    split = Split(places[0], [str(i) for i in images], notes, _sizes(images), labels)
    _question(split, found)
    return split


def _images(place: Path, found: Description, boundary: Boundary) -> list[Path]:
    """The images of a folder and its sub-folders, or of a list, whose paths are relative to it or to the root."""
    boundary.report([] if boundary.holds(place) else [place])
    if place.is_dir():
        return sorted(Path(path) for path in files_below(place, boundary) if is_image(path))
    lines = [line.strip().replace("\\", "/") for line in read_text(place, FIX).splitlines() if line.strip()]
    return [_listed(line, place.parent, found.root) for line in lines]


def _listed(line: str, folder: Path, root: Path) -> Path:
    """Path of a line: below the list's folder, the root, or the root without the first folders (Darknet's `data/`)."""
    parts = Path(line).parts
    tried = [folder / line, root / line, *(root / Path(*parts[start:]) for start in range(1, len(parts)))]
    return next((path for path in tried if path.is_file()), tried[0])


def _note(image: Path) -> Path:
    """The file of labels of an image: in `labels` where it lies below `images`, and else beside it."""
    parts = list(image.parts)
    if "images" in parts[:-1]:
        parts[len(parts) - 2 - parts[-2::-1].index("images")] = "labels"
    return Path(*parts).with_suffix(".txt")


def _sizes(images: list[Path]) -> NDArray[np.int64]:
    """(N, 2) height and width; where faults are collected, 1 and 1 of an image that cannot be read."""
    with ThreadPoolExecutor(THREADS) as pool:
        reads = [pool.submit(read_size, image) for image in images]
    sizes = np.ones((len(images), 2), dtype=np.int64)
    for place, (image, read) in enumerate(zip(images, reads, strict=True)):  # faults are collected in this thread alone
        try:
            sizes[place] = read.result()
        except InputError as error:
            fault("unreadable image", str(error), [str(image)], unread=True)
    return sizes


def _question(split: Split, found: Description) -> None:
    """Say of labels that there are none at all, or that they look like pixels."""
    boxes = np.array([box for of_image in split.labels for box in of_image.boxes_cxcywh_rel]).reshape(-1, 4)
    if len(boxes) and (boxes > FAR).any(axis=1).mean() > MANY:
        text = (
            f"{split.source}: boxes such as {split.describe(0)} look like pixels; YOLO's labels are fractions of the"
            " image: divide x and width by its width, y and height by its height"
        )
        fault("boxes as pixels", text, [str(split.source)])
    missing = [note for note in split.notes if not note.is_file()]
    if not len(boxes):
        text = (
            f"{split.source}: none of its {len(split.notes)} images has an object; labels are looked for as"
            f" {split.notes[0]}"
        )
        caution("no object", text, [str(note) for note in split.notes])
    elif missing:
        text = f"{split.source}: {len(missing)} of {len(split.notes)} images have no file of labels, so no object, as"
        caution("image without labels", f"{text} {missing[0]}", [str(note) for note in missing])


def _boxes(split: Split, found: Description, labels: LabelMap, bad_boxes: BadBoxes) -> DetectionDataset:
    counts = [len(of_image.lines) for of_image in split.labels]
    owner = np.repeat(np.arange(len(counts)), counts)
    sides = np.tile(split.sizes[owner][:, ::-1], 2)
    cxcywh = np.array([box for of_image in split.labels for box in of_image.boxes_cxcywh_rel]).reshape(-1, 4)
    xywh = np.concatenate([cxcywh[:, :2] - cxcywh[:, 2:] / 2, cxcywh[:, 2:]], axis=1) * sides
    annotations = Annotations(
        file_names=np.array([_below(image, found.root) for image in split.images], dtype=np.str_),
        image_ids=np.arange(1, len(counts) + 1, dtype=np.int64),
        sizes=split.sizes,
        owner=owner,
        bbox_xywh_px=np.asarray(xywh, np.float64),
        labels=np.array([index for of_image in split.labels for index in of_image.classes], dtype=np.int64),
        crowd=np.zeros(len(owner), dtype=np.bool_),
        areas=xywh[:, 2:].prod(axis=1),
    )
    return DetectionDataset(found.root, annotations, labels, bad_boxes, split.source, split.describe)


def _masks(split: Split, found: Description, labels: LabelMap, bad_boxes: BadBoxes) -> OutlinedDataset:
    places = {number: labels.names.index(name) for number, name in enumerate(found.names) if name in labels.names[1:]}
    owner, classes, outlines, bad = [], [], [], []
    for image, (note, of_image) in enumerate(zip(split.notes, split.labels, strict=True)):
        height, width = split.sizes[image].tolist()
        for place, number in enumerate(of_image.classes):
            if number not in places:
                continue
            outline = None
            if place in of_image.outlines:
                outline = [of_image.outlines[place] * np.tile([width, height], len(of_image.outlines[place]) // 2)]
            what = "has a box and no outline" if outline is None else outline_fault(outline, (height, width))
            if what is not None:
                bad.append(f"line {of_image.lines[place]} of {note} {what}")
                continue
            owner.append(image)
            classes.append(places[number])
            outlines.append(outline)
    if bad:
        text = f"{split.source}: {len(bad)} objects cannot be drawn; the first, {bad[0]}"
        if bad_boxes is BadBoxes.error:
            fault("wrong outline", f"{text}; correct it or leave such objects out by data.bad_boxes=drop", bad)
        else:
            caution("wrong outline", f"{text}; they are background (data.bad_boxes=drop)", bad)
    objects = Objects(
        np.array(owner, dtype=np.int64), np.array(classes, dtype=np.uint8), np.zeros(len(owner), np.bool_), outlines
    )
    names = [_below(image, found.root) for image in split.images]
    return OutlinedDataset(found.root, names, split.sizes, objects, labels, split.source)


def _below(image: str, root: Path) -> str:
    """A path relative to the root, also where that is not above it."""
    return os.path.relpath(image, root)
