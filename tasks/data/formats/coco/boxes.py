"""COCO's layout: `annotations/instances_{split}.json` and the images in `{split}/`.

Reference: https://cocodataset.org/#format-data. Outlines (`segmentation`) are not read: they are nine tenths of a file.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from backbone.errors import InputError
from tasks.data.checks import check_images_exist, require_file, require_folder, require_root
from tasks.data.config import BadBoxes
from tasks.data.datasets.detection import Annotations, DetectionDataset, NoDetections
from tasks.data.faults import fault
from tasks.data.files.boundary import Boundary
from tasks.data.files.sources import is_address
from tasks.data.formats.coco.categories import warn_of_parents
from tasks.data.formats.coco.image_entries import known_sizes, local_names
from tasks.data.formats.coco.instances import called, column, read_instances, texts, whole_numbers
from tasks.data.labels import LabelMap
from tasks.data.splits import DataSplits
from tasks.data.subset import of_classes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tasks.data.config import CocoConfig
    from tasks.data.formats.coco.instances import Entry

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
        self,
        root: str | Path,
        split: str,
        bad_boxes: BadBoxes = BadBoxes.error,
        *,
        outside_root: bool = False,
    ) -> None:
        file, folder = split_files(root, split)
        boundary = Boundary(root, outside_root)
        contents = read_instances(file, _without_outline)
        warn_of_parents(contents, file)
        labels = _label_map(contents["categories"], file)
        files = local_names(contents["images"], folder, file)
        sizes = known_sizes(contents["images"], files, folder, file, boundary)
        annotations, names = _tabulate(contents, labels, file, files, sizes)
        check_images_exist(folder, [name for name in files if not is_address(name)], file, boundary)

        def describe(box: int) -> str:
            name = annotations.file_names[annotations.owner[box]]
            return f"{names[box]} of {name} with bbox {annotations.bbox_xywh_px[box].tolist()}"

        super().__init__(folder, annotations, labels, bad_boxes, file, describe)


def build_splits(config: CocoConfig, *, need_train: bool = True) -> DataSplits:
    """Train and val of a data set in COCO's layout; the public test split has no annotations.

    Args:
        need_train: False allows the training annotations to be absent; train is empty then.

    Raises:
        InputError: see `CocoDetection`, and if the two splits have other categories.
    """
    root = find_coco(config)

    def dataset(split: str) -> CocoDetection:
        return CocoDetection(root, split, config.bad_boxes, outside_root=config.outside_root)

    if not need_train and not annotation_file(root, config.train_split).is_file():
        val = dataset(config.val_split)
        empty = DataSplits(train=NoDetections(val.labels), val=val, test=None, labels=val.labels)
        return of_classes(empty, config.classes)
    train, val = (dataset(split) for split in (config.train_split, config.val_split))
    check_same_categories(train.labels, val.labels, config, root)
    return of_classes(DataSplits(train=train, val=val, test=None, labels=train.labels), config.classes)


def check_same_categories(train: LabelMap, val: LabelMap, config: CocoConfig, root: str) -> None:
    """See that both splits list the same categories; an InputError otherwise, unless faults are collected."""
    if train != val:
        fault(
            "other categories",
            f"{root}: the splits {config.train_split} and {config.val_split} list other categories"
            f" ({train.num_classes} and {val.num_classes}); give both files the same list",
            [str(split_files(root, split)[0]) for split in (config.train_split, config.val_split)],
        )


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
    file, folder = annotation_file(root, split), Path(root) / split
    require_file(file, "the annotations of the split", REMEDY)
    require_folder(folder, "the images of the split", REMEDY)
    return file, folder


def annotation_file(root: str | Path, split: str) -> Path:
    """Where the annotations of a split are."""
    return Path(root) / "annotations" / f"instances_{split}.json"


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
