"""COCO's outlines as masks: of VOC's classes, for the pretraining of models that are then trained on VOC, or of own.

Larger objects are drawn first, so that a small object in front of a large one is seen. Crowds are void, since their
outlines are coarse; single objects are drawn over them. Categories that are not learned are background.
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
from tasks.data.files.sources import is_address
from tasks.data.formats.coco.boxes import UNKNOWN, check_same_categories, find_coco, owners, split_files
from tasks.data.formats.coco.categories import mask_classes
from tasks.data.formats.coco.image_entries import known_sizes, local_names
from tasks.data.formats.coco.instances import called, column, read_instances, whole_numbers
from tasks.data.formats.coco.outlines import Outlines, fault, inside, pixels_of, with_arrays
from tasks.data.formats.voc.masks import VOC_CLASSES
from tasks.data.labels import LabelMap
from tasks.data.sample import Sample
from tasks.data.splits import DataSplits

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from tasks.data.config import CocoConfig

log = logging.getLogger(__name__)

MIN_VOC_PIXELS = 1000


class CocoSegmentation:
    """A split in COCO's layout, with masks. The id of an image is its position.

    Args:
        root: folder that holds `annotations` and the folder of images.
        split: name of the folder of images.
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
        split: str,
        min_class_pixels: int | None = 0,
        bad_outlines: BadBoxes = BadBoxes.error,
        *,
        outside_root: bool = False,
        classes: Sequence[str] | None = None,
    ) -> None:
        self._file, self._folder = split_files(root, split)
        boundary = Boundary(root, outside_root)
        contents = read_instances(self._file, with_arrays)
        names, kinds = mask_classes(contents["categories"], classes, self._file)
        self.labels = LabelMap.indexed(names)
        images = contents["images"]
        ids = np.array(whole_numbers(images, "id", "images", self._file), dtype=np.int64)
        files = local_names(images, self._folder, self._file)
        check_images_exist(self._folder, [name for name in files if not is_address(name)], self._file, boundary)
        self._file_names = np.array(files, dtype=np.str_)
        self._sizes = np.array(known_sizes(images, files, self._folder, self._file, boundary), dtype=np.int64)
        rows = self._read_objects(contents, kinds, ids, bad_outlines)
        if min_class_pixels is None:
            min_class_pixels = MIN_VOC_PIXELS if names == VOC_CLASSES else 0
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
        self, contents: dict[str, Any], classes: dict[int, int], image_ids: NDArray[np.int64], policy: BadBoxes
    ) -> list[dict[str, Any]]:
        """Keep the objects of the classes, by image; gives back their entries in that order."""
        file = self._file
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
                f"{self._file}: none of its {total} images has {least} pixels of {self._what()}; choose another"
                " split or a smaller data.min_class_pixels"
            )
        if len(used) < total:
            log.info("%s: %d of %d images have %d pixels of %s", self._file, len(used), total, least, self._what())
        return used

    def _what(self) -> str:
        return "VOC's classes" if self.labels.names == VOC_CLASSES else "its classes"

    def _position(self, index: int) -> int:
        check_index(index, len(self))
        return int(self._positions[index])


def build_splits(config: CocoConfig) -> DataSplits:
    """Train, without the images that show too little of the classes, and all of val.

    Raises:
        InputError: see `CocoSegmentation` and `find_coco`.
    """
    root = find_coco(config)
    train, val = (
        CocoSegmentation(root, split, least, config.bad_boxes, outside_root=config.outside_root, classes=config.classes)
        for split, least in ((config.train_split, config.min_class_pixels), (config.val_split, 0))
    )
    check_same_categories(train.labels, val.labels, config, root)
    return DataSplits(train=train, val=val, test=None, labels=train.labels)
