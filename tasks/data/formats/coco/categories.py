"""The list `categories` of COCO's files: which of them are learned."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from backbone.errors import InputError
from tasks.data.faults import caution
from tasks.data.formats.coco.instances import texts, whole_numbers
from tasks.data.formats.voc.masks import VOC_CLASSES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

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
COCO_IDS = {
    "person": 1, "bicycle": 2, "car": 3, "motorbike": 4, "aeroplane": 5, "bus": 6, "train": 7, "boat": 9, "bird": 16,
    "cat": 17, "dog": 18, "horse": 19, "sheep": 20, "cow": 21, "bottle": 44, "chair": 62, "sofa": 63, "pottedplant": 64,
    "diningtable": 67, "tvmonitor": 72,
}  # fmt: skip
"""COCO's category ids of VOC's classes."""
FEWEST_OF_COCO = 2
"""So many of them, and no other id for one of these names, and a file is taken for COCO's."""
BACKGROUND = "background"
MAX_CLASSES = 255


def warn_of_parents(contents: dict[str, Any], file: Path) -> None:
    """Say of a category that it has no object and is the `supercategory` of others, as the first of Roboflow's."""
    used = {row["category_id"] for row in contents["annotations"]}
    above = {row.get("supercategory") for row in contents["categories"]}
    parents = [row["name"] for row in contents["categories"] if row["id"] not in used and row["name"] in above]
    if parents and used:
        others = [row["name"] for row in contents["categories"] if row["name"] not in parents]
        caution(
            "category without objects above others",
            f"{file}: {parents[0]} has no object, is the supercategory of others and is learned as a class of its own;"
            f" leave it out by data.classes=[{','.join(others)}]",
            parents,
        )


def mask_classes(
    categories: list[dict[str, Any]], classes: Sequence[str] | None, file: Path
) -> tuple[tuple[str, ...], dict[int, int]]:
    """Names of the values of masks, and the value by category id of the categories that are learned.

    Raises:
        InputError: one of `classes` is no category, or there is none, or too many.
    """
    names = texts(categories, "name", "categories", file)
    ids = whole_numbers(categories, "id", "categories", file)
    if classes is None:
        found = {id_: VOC_NAMES.get(name, name) for id_, name in zip(ids, names, strict=True)}
        common = {id_: name for id_, name in found.items() if name in COCO_IDS}
        if len(common) >= FEWEST_OF_COCO and all(COCO_IDS[name] == id_ for id_, name in common.items()):
            log.info("%s: %d of its %d categories are VOC's classes and learned", file, len(common), len(ids))
            return VOC_CLASSES, {id_: VOC_CLASSES.index(name) for id_, name in common.items()}
        classes = [name for _, name in sorted(zip(ids, names, strict=True))]
    _check_known(classes, names, file)
    own = (BACKGROUND, *(name for name in classes if name.lower() != BACKGROUND))
    if not 1 < len(own) <= MAX_CLASSES:
        raise InputError(f"{file}: has {len(own) - 1} categories besides background; must be 1 to {MAX_CLASSES - 1}")
    return own, {id_: own.index(name) for id_, name in zip(ids, names, strict=True) if name in own[1:]}


def _check_known(classes: Sequence[str], names: Sequence[str], file: Path) -> None:
    strange = next((name for name in classes if name not in names and name.lower() != BACKGROUND), None)
    if strange is not None or not classes:
        raise InputError(f"data.classes: {strange or '[]'} is no category of {file}; those are {', '.join(names)}")
