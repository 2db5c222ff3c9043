"""What an evaluation needs from files of anybody's making: COCO annotations and COCO results (predictions).

Everything that would be counted wrongly, or would crash later without a file name, is an error here.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from backbone.errors import InputError
from tasks.data.files.contents import shown
from tasks.data.formats.coco.instances import is_number, kind_of, read_instances, read_json

logger = logging.getLogger(__name__)

RESULT_KEYS = ("image_id", "category_id", "bbox", "score")


def load_annotations(path: str | Path) -> dict[str, Any]:
    """A COCO annotation file: a dictionary with `images`, `annotations` and `categories`.

    Raises:
        InputError: the file is missing, see `read_instances`, an id of an annotation names nothing, or a box is not
            four finite numbers.
    """
    path = existing(path, "data.annotations")
    data = read_instances(path)
    images, categories = ({entry["id"] for entry in data[name]} for name in ("images", "categories"))
    for number, annotation in enumerate(data["annotations"]):
        place = f"{path}: annotations[{number}]"
        _check_id(place, annotation, "image_id", images, "an id of the list 'images'")
        _check_id(place, annotation, "category_id", categories, "an id of the list 'categories'")
        _check_box(place, annotation)
    return data


def load_results(path: str | Path, ground_truth: dict[str, Any]) -> list[dict[str, Any]]:
    """A COCO results file: a list of objects with `image_id`, `category_id`, `bbox` and `score`.

    An empty list is a result, and reported: nothing was detected.

    Args:
        ground_truth: what `load_annotations` gave; the results must speak of its images and categories.
    Raises:
        InputError: the file is missing or no JSON, it holds no list, an entry lacks something or does not fit.
    """
    path = existing(path, "predictions")
    data = read_json(path)
    if not isinstance(data, list):
        raise InputError(
            f"{path}: holds {kind_of(data)}; COCO results are a list of objects with {', '.join(RESULT_KEYS)}"
        )
    if not data:
        logger.warning("%s: the list is empty, nothing was detected", path)
    images = {image["id"] for image in ground_truth["images"]}
    categories = {category["id"] for category in ground_truth["categories"]}
    for number, entry in enumerate(data):
        place = f"{path}: entry {number}"
        if not isinstance(entry, dict):
            raise InputError(f"{place} is {kind_of(entry)}; must be an object with {', '.join(RESULT_KEYS)}")
        _check_id(
            place, entry, "image_id", images, f"one of the annotations' {len(images)} images; is it another split?"
        )
        _check_id(
            place, entry, "category_id", categories,
            f"one of the annotations' category ids {min(categories)} .. {max(categories)}, not the index of a class",
        )  # fmt: skip
        _check_box(place, entry)
        score = entry.get("score")
        if not is_number(score):
            raise InputError(f"{place} has score {shown(score)}; must be a finite number")
    if data and max(entry["score"] for entry in data) > 1:
        logger.warning(
            "%s: scores go up to %g, so they are no probabilities (per cent?); only their order counts here",
            path,
            max(entry["score"] for entry in data),
        )
    return data


def existing(path: str | Path, argument: str) -> Path:
    """Path of a file that `argument` names.

    Raises:
        InputError: there is no such file.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{argument}={path}: there is no such file; give the path of a COCO JSON file")
    return path


def _check_id(place: str, entry: dict[str, Any], key: str, known: set[int], allowed: str) -> None:
    if key not in entry:
        raise InputError(f"{place} has no {key!r}; must be {allowed}")
    value = entry[key]
    if type(value) is not int or value not in known:
        raise InputError(f"{place} has {key} {shown(value)}; must be {allowed}")


def _check_box(place: str, entry: dict[str, Any]) -> None:
    if "bbox" not in entry:
        raise InputError(f"{place} has no 'bbox'; must be [x, y, width, height] in pixels (masks are not scored)")
    box = entry["bbox"]
    if not isinstance(box, list) or len(box) != 4 or not all(map(is_number, box)) or min(box[2:]) < 0:
        raise InputError(
            f"{place} has bbox {shown(box)}; must be four finite numbers x, y, width, height, with no negative size"
        )
