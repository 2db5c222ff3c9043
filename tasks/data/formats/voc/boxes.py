"""PASCAL VOC's layout with boxes: `Annotations/*.xml`, `JPEGImages/`, `ImageSets/Main/{split}.txt`.

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
from tasks.data.checks import check_images_exist, require_file, require_folder
from tasks.data.config import BadBoxes
from tasks.data.datasets.detection import Annotations, DetectionDataset, NoDetections
from tasks.data.faults import each, fault
from tasks.data.files.boundary import Boundary
from tasks.data.files.contents import shown
from tasks.data.files.images import read_size
from tasks.data.formats.voc.find import find_voc
from tasks.data.formats.voc.folder import REMEDY, file_names, read_list
from tasks.data.formats.voc.xml_file import read_xml
from tasks.data.labels import LabelMap
from tasks.data.splits import DataSplits

if TYPE_CHECKING:
    from collections.abc import Sequence
    from xml.etree.ElementTree import Element

    from tasks.data.config import VocConfig

log = logging.getLogger(__name__)

LAYOUT = "VOC's layout with Annotations/, JPEGImages/ and ImageSets/Main/{split}.txt"
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
        root: folder that holds `Annotations`, `JPEGImages` and `ImageSets`.
        split: name of the list under `ImageSets/Main`.
        classes: names of the classes; None collects those of this split, sorted.
        bad_boxes: what to do with boxes that cannot be learned.
        images: what `read_split` gave for this split, if it was called before.
        outside_root: whether files may lie elsewhere.

    Raises:
        InputError: a file or folder is missing, or its contents do not fit together.
    """

    def __init__(
        self,
        root: str | Path,
        split: str,
        classes: Sequence[str] | None = None,
        bad_boxes: BadBoxes = BadBoxes.error,
        images: list[VocImage] | None = None,
        *,
        outside_root: bool = False,
    ) -> None:
        images = read_split(root, split, Boundary(root, outside_root)) if images is None else images
        labels = LabelMap.numbered(classes or collect_classes(images, split_list(root, split)))
        for image in images:
            image.objects = _known(image, labels)
        objects = [(image, number, item) for image in images for number, item in enumerate(image.objects, start=1)]
        folder = Path(root) / "JPEGImages"

        def describe(box: int) -> str:
            image, number, item = objects[box]
            return f"object {number} ({item.name}) of {image.xml} with corners {list(item.corners)}"

        annotations = _tabulate(images, labels)
        super().__init__(folder, annotations, labels, bad_boxes, split_list(root, split), describe)


def build_splits(config: VocConfig, *, need_train: bool = True) -> DataSplits:
    """Train, val and, if its list exists, test. Without `classes` those of all splits are collected.

    With `classes` the objects of others are left out, and it is said how many.

    Args:
        need_train: False allows the list of train to be absent; train is empty then.

    Raises:
        InputError: see `VocDetection`.
    """
    root = find_voc(config, LAYOUT)
    has_train = need_train or split_list(root, config.train_split).is_file()
    names = [config.train_split] * has_train + [config.val_split]
    if config.test_split is not None and split_list(root, config.test_split).is_file():
        names.append(config.test_split)
    boundary = Boundary(root, config.outside_root)
    images = {name: read_split(root, name, boundary) for name in names}
    everything = [image for name in names for image in images[name]]
    classes = config.classes or collect_classes(everything, Path(root) / "Annotations")
    if config.classes:
        _leave_out_others(everything, config.classes)
    splits = {name: VocDetection(root, name, classes, config.bad_boxes, images[name]) for name in names}
    val = splits[config.val_split]
    return DataSplits(
        train=splits[config.train_split] if has_train else NoDetections(val.labels),
        val=val,
        test=splits.get(config.test_split or ""),
        labels=val.labels,
    )


def _leave_out_others(images: Sequence[VocImage], classes: Sequence[str]) -> None:
    """Forget the objects of other classes, and say how many there were."""
    others = Counter(item.name for image in images for item in image.objects if item.name not in classes)
    for image in images:
        image.objects = [item for item in image.objects if item.name in classes]
    if others:
        some = ", ".join(f"{count} {name}" for name, count in others.most_common(5))
        log.info("data.classes: %d objects of other classes are left out (%s)", others.total(), some)


def split_list(root: str | Path, split: str) -> Path:
    """The file that lists the images of a split."""
    return Path(root) / "ImageSets" / "Main" / f"{split}.txt"


def collect_classes(images: Sequence[VocImage], file: Path) -> list[str]:
    """Names that occur, sorted.

    Raises:
        InputError: there is no object at all.
    """
    names = sorted({item.name for image in images for item in image.objects})
    if not names:
        raise InputError(f"{file}: no object is annotated, so the classes are unknown; name them by data.classes=[...]")
    return names


def read_split(root: str | Path, split: str, boundary: Boundary) -> list[VocImage]:
    """Every image that the split lists, from its XML file; the images themselves are not read.

    Raises:
        InputError: a file or folder is missing, an XML file is broken, or an image is listed twice.
    """
    require_folder(root, LAYOUT, REMEDY)
    folder, xml_folder, listing = Path(root) / "JPEGImages", Path(root) / "Annotations", split_list(root, split)
    require_folder(folder, "the images", REMEDY)
    require_folder(xml_folder, "the annotations", REMEDY)
    stems = read_list(listing)
    found = file_names(folder)
    check_images_exist(folder, [found.get(stem, f"{stem}.jpg") for stem in stems], listing, boundary)
    boundary.report([] if boundary.holds(xml_folder) else [xml_folder])
    files = [(xml_folder / f"{stem}.xml", folder / found[stem]) for stem in stems if stem in found]
    boundary.report([xml for xml, _ in files if not boundary.holds_file(xml)])
    images = []
    for xml, image in files:
        if not (boundary.holds_file(xml) and boundary.holds_file(image)):
            continue  # a fault, said above
        with each("unreadable annotation", str(xml)):
            remedy = "add the file or remove the image from the list"
            require_file(xml, f"the annotation of an image of {listing}", remedy)
            images.append(_read_xml(xml, image))
    return images


def _read_xml(xml: Path, image: Path) -> VocImage:
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
    return VocImage(xml, image.name, size if min(size) > 0 else read_size(image), objects)


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
