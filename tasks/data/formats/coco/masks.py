"""COCO's outlines as masks of VOC's classes, for the pretraining of models that are then trained on VOC.

Larger objects are drawn first, so that a small object in front of a large one is seen. Crowds are void, since their
outlines are coarse; single objects are drawn over them. Categories that VOC does not have are background.
Reference: the rule that an image must have a thousand pixels of these classes is that of torchvision's
references/segmentation. Differs from it: where two objects overlap, the smaller one is taught instead of void.
Shapes: N images, B objects, H W pixels.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np

from backbone.errors import InputError
from heads.structures import VOID
from tasks.data.checks import check_images_exist, check_index
from tasks.data.config import BadBoxes
from tasks.data.faults import caution
from tasks.data.faults import fault as report_fault
from tasks.data.files.boundary import Boundary
from tasks.data.files.images import read_image
from tasks.data.formats.coco.boxes import UNKNOWN, find_coco, owners, split_files
from tasks.data.formats.coco.instances import called, column, image_sizes, read_instances, texts, whole_numbers
from tasks.data.formats.coco.outlines import Outlines, fault, inside, pixels_of, with_arrays
from tasks.data.formats.voc.masks import VOC_CLASSES
from tasks.data.labels import LabelMap
from tasks.data.sample import Sample
from tasks.data.splits import DataSplits

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from tasks.data.config import CocoConfig

log = logging.getLogger(__name__)

VOC_NAMES = {
    "airplane": "aeroplane",
    "couch": "sofa",
    "dining table": "diningtable",
    "motorcycle": "motorbike",
    "potted plant": "pottedplant",
    "tv": "tvmonitor",
}
"""COCO's categories that VOC calls otherwise; the other 14 have the same name."""


class CocoSegmentation:
    """A split in COCO's layout, with masks of VOC's classes. The id of an image is its position.

    Args:
        root: folder that holds `annotations` and the folder of images.
        split: name of the folder of images.
        min_class_pixels: images where objects of these classes have fewer pixels together are left out; crowds do not
            count.
        bad_outlines: what to do with objects of these classes whose outline cannot be drawn; dropped ones become
            background.
        outside_root: whether images may lie elsewhere.

    Raises:
        InputError: a file or folder is missing, its contents do not fit together, or no image or class is left.
    """

    def __init__(
        self,
        root: str | Path,
        split: str,
        min_class_pixels: int = 0,
        bad_outlines: BadBoxes = BadBoxes.error,
        *,
        outside_root: bool = False,
    ) -> None:
        self._file, self._folder = split_files(root, split)
        self.labels = LabelMap.indexed(VOC_CLASSES)
        contents = read_instances(self._file, with_arrays)
        images = contents["images"]
        ids = np.array(whole_numbers(images, "id", "images", self._file), dtype=np.int64)
        names = texts(images, "file_name", "images", self._file)
        check_images_exist(self._folder, names, self._file, Boundary(root, outside_root))
        self._file_names = np.array(names, dtype=np.str_)
        self._sizes = np.array(image_sizes(images, self._file), dtype=np.int64)
        rows = self._read_objects(contents, ids, bad_outlines)
        self._positions = self._with_enough_pixels(rows, min_class_pixels)

    def __len__(self) -> int:
        return len(self._positions)

    def path(self, index: int) -> Path:
        """Path of the image file."""
        return self._folder / str(self._file_names[self._position(index)])

    def __getitem__(self, index: int) -> Sample:
        """Read an image and draw its mask.

        Raises:
            InputError: the file is broken or not of the size that the annotations state.
        """
        return self.look(index, shrink=1)

    def look(self, index: int, shrink: int = 8) -> Sample:
        """Sample as `[index]`, but the image comes at a fraction of its size (see `read_image`); its mask does not."""
        position = self._position(index)
        height, width = self._sizes[position].tolist()
        image = read_image(self.path(index), (height, width), self._file, shrink)
        return Sample(image=image, image_id=index, size=(height, width), mask=self._draw(position, height, width))

    def _draw(self, position: int, height: int, width: int) -> NDArray[np.uint8]:
        """(H, W) classes."""
        mask = np.zeros((height, width), dtype=np.uint8, order="F")
        first, end = int(self._starts[position]), int(self._starts[position + 1])
        if first == end:
            return np.ascontiguousarray(mask)
        drawn = [self._outlines.run_lengths(place, height, width) for place in range(first, end)]
        crowd = self._crowd[first:end]
        values = np.where(crowd, np.uint8(VOID), self._classes[first:end])
        for place in np.lexsort((-pixels_of(drawn), ~crowd)):
            np.copyto(mask, values[place], where=inside(drawn[place]))
        return np.ascontiguousarray(mask)

    def _read_objects(
        self, contents: dict[str, Any], image_ids: NDArray[np.int64], policy: BadBoxes
    ) -> list[dict[str, Any]]:
        """Keep the objects of VOC's classes, by image; gives back their entries in that order."""
        file = self._file
        classes = _class_indices(contents["categories"], file)
        kinds = column(contents["annotations"], "category_id", "annotations", file)
        rows = [row for row, kind in zip(contents["annotations"], kinds, strict=True) if kind in classes]
        places = owners(rows, image_ids, file)
        rows = [row for row, place in zip(rows, places.tolist(), strict=True) if place != UNKNOWN]
        places = places[places != UNKNOWN]
        kept = self._without_faults(rows, places, policy)
        order = kept[np.argsort(places[kept], kind="stable")]
        rows = [rows[row] for row in order]
        self._starts = np.searchsorted(places[order], np.arange(len(image_ids) + 1))
        self._classes = np.array([classes[row["category_id"]] for row in rows], dtype=np.uint8)
        self._crowd = np.array([bool(row.get("iscrowd", 0)) for row in rows], dtype=np.bool_)
        self._outlines = Outlines.pack([row["segmentation"] for row in rows])
        return rows

    def _without_faults(
        self, rows: list[dict[str, Any]], places: NDArray[np.int64], policy: BadBoxes
    ) -> NDArray[np.int64]:
        """Which rows have an outline that can be drawn."""
        sizes = self._sizes[places].tolist()
        faults = [fault(row.get("segmentation"), (size[0], size[1])) for row, size in zip(rows, sizes, strict=True)]
        bad = [position for position, what in enumerate(faults) if what is not None]
        if bad:
            first = bad[0]
            message = (
                f"{self._file}: {len(bad)} of {len(rows)} outlines cannot be drawn; the first,"
                f" {called(rows[first])} of {self._file_names[places[first]]}, {faults[first]}"
            )
            cases = [f"{called(rows[place])} {faults[place]}" for place in bad]
            if policy is BadBoxes.error:
                remedy = "correct the file or leave such objects out by data.bad_boxes=drop"
                report_fault("wrong outline", f"{message}; {remedy}", cases)
            else:
                caution("wrong outline", f"{message}; they are background (data.bad_boxes=drop)", cases)
        return np.flatnonzero([what is None for what in faults])

    def _with_enough_pixels(self, rows: list[dict[str, Any]], least: int) -> NDArray[np.int64]:
        """(N,) positions of the images that are used."""
        total = len(self._file_names)
        sums: NDArray[Any] = np.zeros(total)
        if least > 0:
            areas = np.array(column(rows, "area", "annotations", self._file), dtype=np.float64)
            of_image = np.repeat(np.arange(total), np.diff(self._starts))
            sums = np.bincount(of_image, np.where(self._crowd, 0.0, areas), minlength=total)
        used = np.flatnonzero(sums >= least)
        if not len(used):
            raise InputError(
                f"{self._file}: none of its {total} images has {least} pixels of VOC's classes; choose another"
                " split or a smaller data.min_class_pixels"
            )
        if len(used) < total:
            log.info("%s: %d of %d images have %d pixels of VOC's classes", self._file, len(used), total, least)
        return used

    def _position(self, index: int) -> int:
        check_index(index, len(self))
        return int(self._positions[index])


def build_splits(config: CocoConfig) -> DataSplits:
    """Train, without the images that show too little of VOC's classes, and all of val.

    Raises:
        InputError: see `CocoSegmentation` and `find_coco`.
    """
    if config.classes is not None:
        raise InputError("data.classes: is for task=detection; masks of COCO are of VOC's 21 classes; leave it out")
    root = find_coco(config)
    train, val = (
        CocoSegmentation(root, split, least, config.bad_boxes, outside_root=config.outside_root)
        for split, least in ((config.train_split, config.min_class_pixels), (config.val_split, 0))
    )
    return DataSplits(train=train, val=val, test=None, labels=train.labels)


def _class_indices(categories: list[dict[str, Any]], file: Path) -> dict[Any, int]:
    """VOC's class by COCO's category id, for the categories that VOC has."""
    indices = {name: index for index, name in enumerate(VOC_CLASSES) if index > 0}
    names = texts(categories, "name", "categories", file)
    ids = whole_numbers(categories, "id", "categories", file)
    found = {
        category: indices[VOC_NAMES.get(name, name)]
        for category, name in zip(ids, names, strict=True)
        if VOC_NAMES.get(name, name) in indices
    }
    if not found:
        raise InputError(
            f"{file}: none of its categories ({', '.join(names[:5])}, ...) is one of VOC's 20 classes, which is what"
            " segmentation on data=coco is taught; write the masks to files and use data=masks"
        )
    return found
