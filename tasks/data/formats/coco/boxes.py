"""COCO's layout: `annotations/instances_{split}.json` and the images in `{split}/`.

Reference: https://cocodataset.org/#format-data. Outlines (`segmentation`) are not read: they are nine tenths of a file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from backbone.errors import InputError
from tasks.data.checks import check_images_exist
from tasks.data.config import BadBoxes
from tasks.data.datasets.detection import Annotations, DetectionDataset, NoDetections
from tasks.data.faults import fault
from tasks.data.files.boundary import Boundary
from tasks.data.files.sources import is_address
from tasks.data.formats.coco.categories import warn_of_parents
from tasks.data.formats.coco.find import find_coco, require_split, split_files
from tasks.data.formats.coco.image_entries import known_sizes, local_names
from tasks.data.formats.coco.instances import called, column, read_instances, texts, whole_numbers
from tasks.data.labels import LabelMap
from tasks.data.splits import DataSplits
from tasks.data.subset import of_classes

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from tasks.data.config import CocoConfig
    from tasks.data.formats.coco.find import CocoPlaces, SplitFiles
    from tasks.data.formats.coco.instances import Entry

UNKNOWN = -1
"""Position or class of what a file does not list, where faults are collected."""


class CocoDetection(DetectionDataset):
    """A split in COCO's layout. Class indices follow the category ids, sorted; gaps between the ids do not matter.

    Args:
        root: folder of the data set.
        split: name of the split, or where its files are.
        bad_boxes: what to do with boxes that cannot be learned.
        outside_root: whether images may lie elsewhere.

    Raises:
        InputError: a file or folder is missing or lies elsewhere, or its contents do not fit together.
    """

    def __init__(
        self,
        root: str | Path,
        split: str | SplitFiles,
        bad_boxes: BadBoxes = BadBoxes.error,
        *,
        outside_root: bool = False,
    ) -> None:
        files = split_files(root, split) if isinstance(split, str) else require_split(split)
        file, boundary = files.file, Boundary(root, outside_root)
        contents = read_instances(file, _without_outline)
        warn_of_parents(contents, file)
        labels = _label_map(contents["categories"], file)
        folder = files.images(texts(contents["images"], "file_name", "images", file))
        names = local_names(contents["images"], folder, file)
        sizes = known_sizes(contents["images"], names, folder, file, boundary)
        annotations, called_so = _tabulate(contents, labels, file, names, sizes)
        check_images_exist(folder, [name for name in names if not is_address(name)], file, boundary)

        def describe(box: int) -> str:
            name = annotations.file_names[annotations.owner[box]]
            return f"{called_so[box]} of {name} with bbox {annotations.bbox_xywh_px[box].tolist()}"

        super().__init__(folder, annotations, labels, bad_boxes, file, describe)


def build_splits(config: CocoConfig, *, need_train: bool = True) -> DataSplits:
    """Train, val and, if its annotations exist, test. With `data.split` train and val are the whole data set.

    Args:
        need_train: False allows the training annotations to be absent; train is empty then.

    Raises:
        InputError: see `CocoDetection`, and if the splits have other categories.
    """
    places = find_coco(config)

    def dataset(files: SplitFiles) -> CocoDetection:
        return CocoDetection(places.root, files, config.bad_boxes, outside_root=config.outside_root)

    is_whole = places.train == places.val
    has_train = need_train or places.train.file.is_file()
    train = dataset(places.train) if has_train and not is_whole else None
    val = dataset(places.val)
    splits = DataSplits(
        train=val if is_whole else train or NoDetections(val.labels),
        val=val,
        test=None if places.test is None else dataset(places.test),
        labels=val.labels,
    )
    check_same_categories(splits, places)
    return of_classes(splits, config.classes)


def check_same_categories(splits: DataSplits, places: CocoPlaces) -> None:
    """See that all splits list the same categories; an InputError otherwise, unless faults are collected."""
    others = {"train": (splits.train, places.train), "test": (splits.test, places.test)}
    for name, (data, files) in others.items():
        if data is not None and files is not None and data.labels != splits.labels:
            fault(
                "other categories",
                f"{places.root}: {name} ({files.file}) and val ({places.val.file}) list other categories"
                f" ({data.labels.num_classes} and {splits.labels.num_classes}); give both files the same list",
                [str(files.file), str(places.val.file)],
            )


def _without_outline(entry: Entry) -> Entry:
    entry.pop("segmentation", None)
    return entry


def _label_map(categories: list[Entry], file: Path) -> LabelMap:
    ids = whole_numbers(categories, "id", "categories", file)
    names = texts(categories, "name", "categories", file)
    order = sorted(range(len(ids)), key=ids.__getitem__)
    try:
        return LabelMap([names[place] for place in order], [ids[place] for place in order])
    except InputError as error:
        raise InputError(f"{file}: {error}") from None


def _tabulate(
    contents: dict[str, list[Entry]], labels: LabelMap, file: Path, names: list[str], sizes: list[tuple[int, int]]
) -> tuple[Annotations, list[str]]:
    """The annotations as arrays, and what the file calls each."""
    images = contents["images"]
    image_ids = np.array(whole_numbers(images, "id", "images", file), dtype=np.int64)
    rows, owner, classes = _known(contents["annotations"], image_ids, labels, file)
    boxes = np.array(column(rows, "bbox", "annotations", file), dtype=np.float64).reshape(-1, 4)
    areas = [row.get("area", width * height) for row, (width, height) in zip(rows, boxes[:, 2:].tolist(), strict=True)]
    table = Annotations(
        file_names=np.array(names, dtype=np.str_),
        image_ids=image_ids,
        sizes=np.array(sizes, dtype=np.int64).reshape(-1, 2),
        owner=owner,
        bbox_xywh_px=boxes,
        labels=classes,
        crowd=np.array([bool(row.get("iscrowd", 0)) for row in rows], dtype=np.bool_),
        areas=np.array(areas, dtype=np.float64),
    )
    return table, [called(row) for row in rows]


def _known(
    rows: list[Entry], image_ids: NDArray[np.int64], labels: LabelMap, file: Path
) -> tuple[list[Entry], NDArray[np.int64], NDArray[np.int64]]:
    """The annotations whose image and category the file lists, the position of the one and the class of the other."""
    owner, classes = owners(rows, image_ids, file), _class_indices(rows, labels, file)
    known = np.flatnonzero((owner != UNKNOWN) & (classes != UNKNOWN))
    return [rows[place] for place in known.tolist()], owner[known], classes[known]


def owners(rows: list[Entry], image_ids: NDArray[np.int64], file: Path) -> NDArray[np.int64]:
    """Position of the image of every annotation; where faults are collected, -1 for one whose image is unknown."""
    positions = {image_id: position for position, image_id in enumerate(image_ids.tolist())}
    owners = [positions.get(image_id, UNKNOWN) for image_id in column(rows, "image_id", "annotations", file)]
    if UNKNOWN in owners:
        strays = [row for row, owner in zip(rows, owners, strict=True) if owner < 0]
        fault(
            "unknown image id",
            f"{file}: {called(strays[0])} is of image {strays[0]['image_id']}, which is not among the"
            f" {len(positions)} images of the file; {len(strays)} annotations have no image: add the images or remove"
            " them",
            [f"{called(row)} of image {row['image_id']}" for row in strays],
        )
    return np.array(owners, dtype=np.int64)


def _class_indices(rows: list[Entry], labels: LabelMap, file: Path) -> NDArray[np.int64]:
    """Class of every annotation; where faults are collected, `UNKNOWN` for one whose category is not in the list."""
    categories = column(rows, "category_id", "annotations", file)
    unknown = [position for position, category in enumerate(categories) if category not in labels]
    if unknown:
        row = rows[unknown[0]]
        fault(
            "unknown category id",
            f"{file}: {called(row)} of image {row['image_id']} has category_id {row['category_id']},"
            f" which is not in the list; allowed are {', '.join(map(str, labels.ids))}:"
            " complete `categories` or correct it",
            [f"{called(rows[place])} with category_id {categories[place]}" for place in unknown],
        )
    indices = [labels.to_index(category) if category in labels else UNKNOWN for category in categories]
    return np.array(indices, dtype=np.int64)
