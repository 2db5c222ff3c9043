"""COCO's outlines as masks: of VOC's classes, for the pretraining of models that are then trained on VOC, or of own.

How they are drawn is said in `tasks.data.datasets.outlined`. Categories that are not learned are background.
Reference: the rule that an image must have a thousand pixels of these classes is that of torchvision's
references/segmentation. Differs from it: where two objects overlap, the smaller one is taught instead of void.
Shapes: N images, B objects.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np

from backbone.errors import InputError
from tasks.data.checks import check_images_exist
from tasks.data.config import BadBoxes
from tasks.data.datasets.outlined import Objects, OutlinedDataset
from tasks.data.faults import caution
from tasks.data.faults import fault as report_fault
from tasks.data.files.boundary import Boundary
from tasks.data.files.sources import is_address
from tasks.data.formats.coco.boxes import UNKNOWN, check_same_categories, owners
from tasks.data.formats.coco.categories import mask_classes
from tasks.data.formats.coco.find import find_coco, require_split, split_files
from tasks.data.formats.coco.image_entries import known_sizes, local_names
from tasks.data.formats.coco.instances import called, column, read_instances, texts, whole_numbers
from tasks.data.formats.coco.outlines import fault, with_arrays
from tasks.data.formats.voc.masks import VOC_CLASSES
from tasks.data.labels import LabelMap
from tasks.data.splits import DataSplits

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from tasks.data.config import CocoConfig
    from tasks.data.formats.coco.find import SplitFiles

log = logging.getLogger(__name__)

MIN_VOC_PIXELS = 1000


class CocoSegmentation(OutlinedDataset):
    """A split in COCO's layout, with masks. The id of an image is its position.

    Args:
        root: folder of the data set.
        split: name of the split, or where its files are.
        min_class_pixels: images where objects of the classes have fewer pixels together are left out; crowds do not
            count. None: 1000 for VOC's classes, else 0.
        bad_outlines: what to do with objects of these classes whose outline cannot be drawn; dropped ones become
            background.
        outside_root: whether images may lie elsewhere.
        classes: names of the categories that are learned, behind background; None: those that VOC has, of COCO's own,
            else all.

    Raises:
        InputError: a file or folder is missing, its contents do not fit together, or no image or class is left.
    """

    def __init__(
        self,
        root: str | Path,
        split: str | SplitFiles,
        min_class_pixels: int | None = 0,
        bad_outlines: BadBoxes = BadBoxes.error,
        *,
        outside_root: bool = False,
        classes: Sequence[str] | None = None,
    ) -> None:
        where = split_files(root, split) if isinstance(split, str) else require_split(split)
        file, boundary = where.file, Boundary(root, outside_root)
        contents = read_instances(file, with_arrays)
        names, kinds = mask_classes(contents["categories"], classes, file)
        images = contents["images"]
        ids = np.array(whole_numbers(images, "id", "images", file), dtype=np.int64)
        folder = where.images(texts(images, "file_name", "images", file))
        files = local_names(images, folder, file)
        check_images_exist(folder, [name for name in files if not is_address(name)], file, boundary)
        sizes = np.array(known_sizes(images, files, folder, file, boundary), dtype=np.int64)
        rows, owner = _known_objects(contents, kinds, ids, file)
        kept = _drawable(rows, owner, files, sizes, bad_outlines, file)
        rows, owner = [rows[place] for place in kept.tolist()], owner[kept]
        objects = Objects(
            owner=owner,
            classes=np.array([kinds[row["category_id"]] for row in rows], dtype=np.uint8),
            crowd=np.array([bool(row.get("iscrowd", 0)) for row in rows], dtype=np.bool_),
            outlines=[row["segmentation"] for row in rows],
        )
        super().__init__(folder, files, sizes, objects, LabelMap.indexed(names), file)
        if min_class_pixels is None:
            min_class_pixels = MIN_VOC_PIXELS if names == VOC_CLASSES else 0
        self._positions = self._with_enough_pixels(rows, objects, min_class_pixels)

    def _with_enough_pixels(self, rows: list[dict[str, Any]], objects: Objects, least: int) -> NDArray[np.int64]:
        """(N,) positions of the images that are used."""
        total = len(self._file_names)
        sums: NDArray[Any] = np.zeros(total)
        if least > 0:
            areas = np.array(column(rows, "area", "annotations", self._file), dtype=np.float64)
            sums = np.bincount(objects.owner, np.where(objects.crowd, 0.0, areas), minlength=total)
        used = np.flatnonzero(sums >= least)
        if not len(used):
            raise InputError(
                f"{self._file}: none of its {total} images has {least} pixels of {self._what()}; choose another"
                " split or a smaller data.min_class_pixels"
            )
        if len(used) < total:
            log.info("%s: %d of %d images have %d pixels of %s", self._file, len(used), total, least, self._what())
        return used

    def _what(self) -> str:
        return "VOC's classes" if self.labels.names == VOC_CLASSES else "its classes"


def _known_objects(
    contents: dict[str, Any], classes: dict[int, int], image_ids: NDArray[np.int64], file: Path
) -> tuple[list[dict[str, Any]], NDArray[np.int64]]:
    """Objects of the classes whose image the file lists, and the positions of their images."""
    kinds = column(contents["annotations"], "category_id", "annotations", file)
    rows = [row for row, kind in zip(contents["annotations"], kinds, strict=True) if kind in classes]
    places = owners(rows, image_ids, file)
    rows = [row for row, place in zip(rows, places.tolist(), strict=True) if place != UNKNOWN]
    return rows, places[places != UNKNOWN]


def _drawable(
    rows: list[dict[str, Any]],
    places: NDArray[np.int64],
    names: list[str],
    sizes: NDArray[np.int64],
    policy: BadBoxes,
    file: Path,
) -> NDArray[np.int64]:
    """Which rows have an outline that can be drawn."""
    wanted = sizes[places].tolist()
    faults = [fault(row.get("segmentation"), (size[0], size[1])) for row, size in zip(rows, wanted, strict=True)]
    bad = [position for position, what in enumerate(faults) if what is not None]
    if bad:
        first = bad[0]
        message = (
            f"{file}: {len(bad)} of {len(rows)} outlines cannot be drawn; the first,"
            f" {called(rows[first])} of {names[places[first]]}, {faults[first]}"
        )
        cases = [f"{called(rows[place])} {faults[place]}" for place in bad]
        if policy is BadBoxes.error:
            remedy = "correct the file or leave such objects out by data.bad_boxes=drop"
            report_fault("wrong outline", f"{message}; {remedy}", cases)
        else:
            caution("wrong outline", f"{message}; they are background (data.bad_boxes=drop)", cases)
    return np.flatnonzero([what is None for what in faults])


def build_splits(config: CocoConfig) -> DataSplits:
    """Train, without the images that show too little of the classes, all of val and, if it is annotated, of test.

    With `data.split` train and val are the whole data set.

    Raises:
        InputError: see `CocoSegmentation` and `find_coco`.
    """
    places = find_coco(config)

    def dataset(files: SplitFiles, least: int | None = 0) -> CocoSegmentation:
        return CocoSegmentation(
            places.root, files, least, config.bad_boxes, outside_root=config.outside_root, classes=config.classes
        )

    train = dataset(places.train, config.min_class_pixels)
    val = train if places.val == places.train else dataset(places.val)
    test = None if places.test is None else dataset(places.test)
    splits = DataSplits(train=train, val=val, test=test, labels=train.labels)
    check_same_categories(splits, places)
    return splits
