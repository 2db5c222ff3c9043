"""COCO's layout: `annotations/instances_{split}.json` and the images in `{split}/`.

Reference: https://cocodataset.org/#format-data. Outlines (`segmentation`) are not read: they are nine tenths of a file.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from backbone.errors import InputError
from tasks.data.checks import check_images_exist, check_unique, require_file, require_folder, require_root
from tasks.data.config import BadBoxes
from tasks.data.datasets.detection import Annotations, DetectionDataset
from tasks.data.faults import fault
from tasks.data.files.boundary import Boundary
from tasks.data.labels import LabelMap
from tasks.data.splits import DataSplits

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from tasks.data.config import CocoConfig

LAYOUT = "COCO's layout with annotations/instances_{split}.json and {split}/"
UNKNOWN = -1
"""Position or class of what a file does not list, where faults are collected."""
REMEDY = "data.root=FOLDER names the data set, data.download=true fetches COCO 2017 into it"


class CocoDetection(DetectionDataset):
    """A split in COCO's layout. Class indices follow the category ids, sorted; gaps between the ids do not matter.

    Args:
        root: folder that holds `annotations` and the folder of images.
        split: name of the folder of images.
        bad_boxes: what to do with boxes that cannot be learned.
        outside_root: whether images may lie elsewhere.

    Raises:
        InputError: a file or folder is missing or lies elsewhere, or its contents do not fit together.
    """

    def __init__(
        self, root: str | Path, split: str, bad_boxes: BadBoxes = BadBoxes.error, *, outside_root: bool = False
    ) -> None:
        file, folder = split_files(root, split)
        contents = read_json(file, _without_outline)
        labels = _label_map(contents["categories"], file)
        annotations, ids = _tabulate(contents, labels, file)
        check_images_exist(folder, annotations.file_names.tolist(), file, Boundary(root, outside_root))

        def describe(box: int) -> str:
            name = annotations.file_names[annotations.owner[box]]
            return f"annotation {ids[box]} of {name} with bbox {annotations.bbox_xywh_px[box].tolist()}"

        super().__init__(folder, annotations, labels, bad_boxes, file, describe)


def build_splits(config: CocoConfig) -> DataSplits:
    """Train and val of a data set in COCO's layout; the public test split has no annotations.

    Raises:
        InputError: see `CocoDetection`, and if the two splits have other categories.
    """
    root = find_coco(config)
    train, val = (
        CocoDetection(root, split, config.bad_boxes, outside_root=config.outside_root)
        for split in (config.train_split, config.val_split)
    )
    if train.labels != val.labels:
        fault(
            "other categories",
            f"{root}: the splits {config.train_split} and {config.val_split} list other categories"
            f" ({train.labels.num_classes} and {val.labels.num_classes}); give both files the same list",
            [str(split_files(root, split)[0]) for split in (config.train_split, config.val_split)],
        )
    return DataSplits(train=train, val=val, test=None, labels=train.labels)


def find_coco(config: CocoConfig) -> str:
    """The folder of the data set. Downloads first if asked to.

    Raises:
        InputError: `data.root` is not set or is no folder, or what `download_coco` raises.
    """
    if config.root is not None and config.download:
        from tasks.data.formats.coco.download import download_coco

        download_coco(Path(config.root))
    return require_root(config.root, LAYOUT, REMEDY)


def split_files(root: str | Path, split: str) -> tuple[Path, Path]:
    """The annotation file of a split and the folder of its images.

    Raises:
        InputError: one of them is missing.
    """
    require_folder(root, LAYOUT, REMEDY)
    file, folder = Path(root) / "annotations" / f"instances_{split}.json", Path(root) / split
    require_file(file, "the annotations of the split", REMEDY)
    require_folder(folder, "the images of the split", REMEDY)
    return file, folder


def _without_outline(entry: dict[str, Any]) -> dict[str, Any]:
    entry.pop("segmentation", None)
    return entry


def read_json(file: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """An instances file, every object changed as soon as it is read.

    Raises:
        InputError: it is broken, or no instances file.
    """
    try:
        with file.open(encoding="utf-8") as stream:
            contents = json.load(stream, object_hook=change)
    except ValueError as error:
        raise InputError(f"{file}: broken JSON ({error}); fetch or write the file again") from error
    keys = ("images", "annotations", "categories")
    if not isinstance(contents, dict) or not all(isinstance(contents.get(key), list) for key in keys):
        raise InputError(f"{file}: is no COCO instances file; it must be an object with the lists {', '.join(keys)}")
    return contents


def column(rows: list[dict[str, Any]], key: str, what: str, file: Path) -> list[Any]:
    """The value of `key` in every row; an InputError names the first row without it."""
    try:
        return [row[key] for row in rows]
    except (KeyError, TypeError):
        position = next(i for i, row in enumerate(rows) if not isinstance(row, dict) or key not in row)
        raise InputError(f"{file}: {what}[{position}] has no {key!r}; add it or remove the entry") from None


def numbers(values: list[Any], dtype: type[np.generic], columns: int, what: str, file: Path) -> NDArray[Any]:
    """An array (len(values), columns), or (len(values),) where columns is 0; an InputError names the first misfit."""
    shape = (len(values), columns) if columns else (len(values),)
    try:
        array = np.array(values, dtype=dtype) if values else np.empty(shape, dtype)
        if array.shape == shape:
            return array
    except (ValueError, TypeError, OverflowError):
        pass
    wanted = f"{columns} numbers" if columns else "a whole number"
    for position, value in enumerate(values):
        try:
            fits = np.array(value, dtype=dtype).shape == shape[1:]
        except (ValueError, TypeError, OverflowError):
            fits = False
        if not fits:
            raise InputError(f"{file}: {what} at position {position} is {value!r}; it must be {wanted}")
    raise AssertionError("unreachable: the values fit one by one but not together")


def _label_map(categories: list[dict[str, Any]], file: Path) -> LabelMap:
    ids = numbers(column(categories, "id", "categories", file), np.int64, 0, "category id", file)
    names = [str(name) for name in column(categories, "name", "categories", file)]
    order = np.argsort(ids, kind="stable").tolist()
    try:
        return LabelMap([names[i] for i in order], ids[order].tolist())
    except InputError as error:
        raise InputError(f"{file}: {error}") from None


def _tabulate(
    contents: dict[str, list[dict[str, Any]]], labels: LabelMap, file: Path
) -> tuple[Annotations, NDArray[np.int64]]:
    """The annotations as arrays, and the ids that the file gives them."""
    images = contents["images"]
    image_ids = numbers(column(images, "id", "images", file), np.int64, 0, "image id", file)
    check_unique(image_ids.tolist(), "image id", file)
    heights = numbers(column(images, "height", "images", file), np.int64, 0, "image height", file)
    widths = numbers(column(images, "width", "images", file), np.int64, 0, "image width", file)
    rows, owner, classes = _known(contents["annotations"], image_ids, labels, file)
    ids = column(rows, "id", "annotations", file)
    boxes = numbers(column(rows, "bbox", "annotations", file), np.float64, 4, "bbox", file)
    areas = [row.get("area", width * height) for row, (width, height) in zip(rows, boxes[:, 2:].tolist(), strict=True)]
    table = Annotations(
        file_names=np.array([str(name) for name in column(images, "file_name", "images", file)], dtype=np.str_),
        image_ids=image_ids,
        sizes=np.stack([heights, widths], axis=1),
        owner=owner,
        bbox_xywh_px=boxes,
        labels=classes,
        crowd=np.array([bool(row.get("iscrowd", 0)) for row in rows], dtype=np.bool_),
        areas=numbers(areas, np.float64, 0, "area", file),
    )
    return table, np.array(ids)


def _known(
    rows: list[dict[str, Any]], image_ids: NDArray[np.int64], labels: LabelMap, file: Path
) -> tuple[list[dict[str, Any]], NDArray[np.int64], NDArray[np.int64]]:
    """The annotations whose image and category the file lists, the position of the one and the class of the other."""
    owner, classes = owners(rows, image_ids, file), _class_indices(rows, labels, file)
    known = np.flatnonzero((owner != UNKNOWN) & (classes != UNKNOWN))
    return [rows[place] for place in known.tolist()], owner[known], classes[known]


def owners(rows: list[dict[str, Any]], image_ids: NDArray[np.int64], file: Path) -> NDArray[np.int64]:
    """Position of the image of every annotation; where faults are collected, -1 for one whose image is unknown."""
    positions = {image_id: position for position, image_id in enumerate(image_ids.tolist())}
    owners = [positions.get(image_id, UNKNOWN) for image_id in column(rows, "image_id", "annotations", file)]
    if UNKNOWN in owners:
        strays = [row for row, owner in zip(rows, owners, strict=True) if owner < 0]
        fault(
            "unknown image id",
            f"{file}: annotation {strays[0]['id']} is of image {strays[0]['image_id']}, which is not among the"
            f" {len(positions)} images of the file; {len(strays)} annotations have no image: add the images or remove"
            " them",
            [f"annotation {row['id']} of image {row['image_id']}" for row in strays],
        )
    return np.array(owners, dtype=np.int64)


def _class_indices(rows: list[dict[str, Any]], labels: LabelMap, file: Path) -> NDArray[np.int64]:
    """Class of every annotation; where faults are collected, `UNKNOWN` for one whose category is not in the list."""
    categories = column(rows, "category_id", "annotations", file)
    unknown = [position for position, category in enumerate(categories) if category not in labels]
    if unknown:
        row = rows[unknown[0]]
        fault(
            "unknown category id",
            f"{file}: annotation {row['id']} of image {row['image_id']} has category_id {row['category_id']!r},"
            f" which is not in the list; allowed are {', '.join(map(str, labels.ids))}:"
            " complete `categories` or correct it",
            [f"annotation {rows[place]['id']} with category_id {categories[place]!r}" for place in unknown],
        )
    indices = [labels.to_index(category) if category in labels else UNKNOWN for category in categories]
    return np.array(indices, dtype=np.int64)
