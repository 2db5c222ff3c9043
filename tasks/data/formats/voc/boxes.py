"""PASCAL VOC's XML files with boxes: `Annotations/*.xml` and `ImageSets/Main/{split}.txt`, or beside the images.

Coordinates in the files count pixels from 1 and include both ends: xmin=1, xmax=640 is the whole width of an image of
640 pixels. Here that becomes the edges 0 and 640: the lower corner moves by one, the upper stays. A file that counts
from 0 gives -1 there, which is clipped. A box whose corners coincide (xmin = xmax) was clicked and not drawn: it
counts as one without area.
Reference: PASCAL VOC 2012 development kit, section 3.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from backbone.errors import InputError
from tasks.data.checks import require_file
from tasks.data.config import BadBoxes
from tasks.data.datasets.detection import Annotations, DetectionDataset, NoDetections
from tasks.data.faults import each, fault
from tasks.data.files.boundary import Boundary
from tasks.data.files.contents import shown
from tasks.data.files.images import read_size
from tasks.data.formats.voc.find import find_voc
from tasks.data.formats.voc.listing import LAYOUT, has_split, list_all, list_split
from tasks.data.formats.voc.xml_file import read_xml
from tasks.data.labels import LabelMap
from tasks.data.split_names import split_names
from tasks.data.splits import DataSplits

if TYPE_CHECKING:
    from collections.abc import Sequence
    from xml.etree.ElementTree import Element

    from tasks.data.config import VocConfig
    from tasks.data.formats.voc.listing import Listing

log = logging.getLogger(__name__)

NUMBER = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?|[-+]?(nan|inf|infinity)", re.IGNORECASE)
"""A number, or what some tools write where there is none: that makes a box that cannot be learned."""
FLAGS = {"": False, "0": False, "1": True, "false": False, "true": True}
MAX_SIDE = 1_000_000


@dataclass(slots=True)
class VocObject:
    """An `<object>`: its name, the corners as written, and whether it counts neither as found nor as missed."""

    name: str
    corners: tuple[float, float, float, float]
    difficult: bool


@dataclass(slots=True)
class VocImage:
    """One XML file. `size` is height and width in pixels."""

    xml: Path
    file_name: str
    size: tuple[int, int]
    objects: list[VocObject]


class VocDetection(DetectionDataset):
    """A split in VOC's layout. Images are numbered from 1 in the order of the split's list.

    Objects marked `difficult` are handled like crowd: neither positive nor negative, and ignored by the evaluator.

    Args:
        root: folder of the data set.
        split: name of the list under `ImageSets/Main`, or of a folder.
        classes: names of the classes; None collects those of this split, sorted.
        bad_boxes: what to do with boxes that cannot be learned.
        images: what `read_images` gave for this split, if it was called before.
        outside_root: whether files may lie elsewhere.

    Raises:
        InputError: a file or folder is missing, or its contents do not fit together.
    """

    def __init__(
        self,
        root: str | Path,
        split: str | Listing,
        classes: Sequence[str] | None = None,
        bad_boxes: BadBoxes = BadBoxes.error,
        images: list[VocImage] | None = None,
        *,
        outside_root: bool = False,
    ) -> None:
        boundary = Boundary(root, outside_root)
        listing = list_split(Path(root), split, boundary) if isinstance(split, str) else split
        images = read_images(listing, boundary) if images is None else images
        labels = LabelMap.numbered(classes or collect_classes(images, listing.source))
        for image in images:
            image.objects = _known(image, labels)
        objects = [(image, number, item) for image in images for number, item in enumerate(image.objects, start=1)]

        def describe(box: int) -> str:
            image, number, item = objects[box]
            return f"object {number} ({item.name}) of {image.xml} with corners {list(item.corners)}"

        annotations = _tabulate(images, labels)
        super().__init__(listing.folder, annotations, labels, bad_boxes, listing.source, describe)


def build_splits(config: VocConfig, *, need_train: bool = True) -> DataSplits:
    """Train, val and, if it is there, test. Without `classes` those of all splits are collected.

    With `classes` the objects of others are left out, and it is said how many. With `data.split` train and val are the
    split `train_split`, or the whole data set where it has no splits.

    Args:
        need_train: False allows train to be absent; it is empty then.

    Raises:
        InputError: see `VocDetection`.
    """
    root = find_voc(config, LAYOUT)
    train, val, test = split_names(config, lambda split: has_split(root, split))
    boundary = Boundary(root, config.outside_root)
    if config.split is not None:
        val = train
    has_train = need_train or has_split(root, train)
    listings = {
        name: list_all(root, boundary)
        if config.split is not None and name == train and not has_split(root, train)
        else list_split(root, name, boundary)
        for name in dict.fromkeys([train] * has_train + [val] + ([] if test is None else [test]))
    }
    images = {name: read_images(listing, boundary) for name, listing in listings.items()}
    everything = [image for of_split in images.values() for image in of_split]
    classes = config.classes or collect_classes(everything, next(iter(listings.values())).source)
    if config.classes:
        _leave_out_others(everything, config.classes)
    splits = {
        name: VocDetection(root, listing, classes, config.bad_boxes, images[name]) for name, listing in listings.items()
    }
    labels = splits[val].labels
    return DataSplits(
        train=splits[train] if has_train else NoDetections(labels),
        val=splits[val],
        test=None if test is None else splits[test],
        labels=labels,
    )


def _leave_out_others(images: Sequence[VocImage], classes: Sequence[str]) -> None:
    """Forget the objects of other classes, and say how many there were."""
    others = Counter(item.name for image in images for item in image.objects if item.name not in classes)
    for image in images:
        image.objects = [item for item in image.objects if item.name in classes]
    if others:
        some = ", ".join(f"{count} {name}" for name, count in others.most_common(5))
        log.info("data.classes: %d objects of other classes are left out (%s)", others.total(), some)


def collect_classes(images: Sequence[VocImage], file: Path) -> list[str]:
    """Names that occur, sorted.

    Raises:
        InputError: there is no object at all.
    """
    if not images:
        raise InputError(f"{file}: none of its annotations can be read, so the classes are unknown; mend those files")
    names = sorted({item.name for image in images for item in image.objects})
    if not names:
        raise InputError(f"{file}: no object is annotated, so the classes are unknown; name them by data.classes=[...]")
    return names


def read_images(listing: Listing, boundary: Boundary) -> list[VocImage]:
    """Every image of a split, from its XML file; the images themselves are not read.

    Raises:
        InputError: an XML file is missing or broken, or lies elsewhere.
    """
    boundary.report([xml for xml, _ in listing.pairs if not boundary.holds_file(xml)])
    images = []
    for xml, image in listing.pairs:
        if not (boundary.holds_file(xml) and boundary.holds_file(image)):
            continue  # a fault, said above
        with each("unreadable annotation", str(xml)):
            remedy = "add the file or remove the image from the list"
            require_file(xml, f"the annotation of an image of {listing.source}", remedy)
            images.append(_read_xml(xml, image, listing.folder))
    return images


def _read_xml(xml: Path, image: Path, folder: Path) -> VocImage:
    tree = read_xml(xml)
    objects = [
        VocObject(
            name=_text(item, "name", xml).strip(),
            corners=(
                _number(item, "bndbox/xmin", xml),
                _number(item, "bndbox/ymin", xml),
                _number(item, "bndbox/xmax", xml),
                _number(item, "bndbox/ymax", xml),
            ),
            difficult=_flag(item, "difficult", xml),
        )
        for item in tree.findall("object")
    ]
    size = (0, 0)
    if tree.find("size") is not None:
        size = (_side(tree, "size/height", xml), _side(tree, "size/width", xml))
    name = image.relative_to(folder).as_posix()
    return VocImage(xml, name, size if min(size) > 0 else read_size(image), objects)


def _text(element: Element, key: str, xml: Path) -> str:
    text = element.findtext(key)
    if not text or not text.strip():
        raise InputError(f"{xml}: <{element.tag}> has no <{key}>; add it or remove the element")
    return text


def _number(element: Element, key: str, xml: Path) -> float:
    text = _text(element, key, xml).strip()
    if not NUMBER.fullmatch(text):
        raise InputError(f"{xml}: <{key}> is {shown(text)}; it must be a number: correct the file")
    return float(text)


def _side(element: Element, key: str, xml: Path) -> int:
    """Height or width of an image in pixels; 0 where the file does not know it."""
    side = _number(element, key, xml)
    if not (side.is_integer() and 0 <= side <= MAX_SIDE):
        raise InputError(f"{xml}: <{key}> is {side:g}; it must be a whole number of pixels, or 0 where nobody knows")
    return int(side)


def _flag(element: Element, key: str, xml: Path) -> bool:
    text = element.findtext(key, "").strip()
    if text.lower() not in FLAGS:
        raise InputError(f"{xml}: <{key}> is {shown(text)}; it must be 0 or 1: correct the file")
    return FLAGS[text.lower()]


def _known(image: VocImage, labels: LabelMap) -> list[VocObject]:
    """The objects whose class is in the list."""
    strange = [item.name for item in image.objects if item.name not in labels.names]
    if strange:
        fault(
            "unknown class",
            f"{image.xml}: class {strange[0]!r} is not in the list; allowed are {', '.join(labels.names)}:"
            " add it to data.classes, or correct the file",
            [f"{image.xml}: {name}" for name in strange],
        )
    return [item for item in image.objects if item.name in labels.names]


def _tabulate(images: list[VocImage], labels: LabelMap) -> Annotations:
    indices = {name: index for index, name in enumerate(labels.names)}
    objects = [item for image in images for item in image.objects]
    corners = np.array([item.corners for item in objects], dtype=np.float64).reshape(-1, 4)
    drawn = corners[:, 2:] - corners[:, :2]
    sides = np.where(drawn > 0, drawn + 1, drawn)
    return Annotations(
        file_names=np.array([image.file_name for image in images], dtype=np.str_),
        image_ids=np.arange(1, len(images) + 1, dtype=np.int64),
        sizes=np.array([image.size for image in images]).reshape(-1, 2),
        owner=np.repeat(np.arange(len(images)), [len(image.objects) for image in images]),
        bbox_xywh_px=np.concatenate([corners[:, :2] - 1, sides], axis=1),
        labels=np.array([indices[item.name] for item in objects], dtype=np.int64),
        crowd=np.array([item.difficult for item in objects], dtype=np.bool_),
        areas=sides.prod(axis=1),
    )
