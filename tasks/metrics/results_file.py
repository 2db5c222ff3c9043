"""Reads what an evaluation needs from files of anybody's making: COCO annotations and COCO results (predictions).

Everything that would be counted wrongly, or would crash later without a file name, is an error here.
"""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any

from backbone.errors import InputError

logger = logging.getLogger(__name__)

ANNOTATION_KEYS = ("images", "annotations", "categories")
RESULT_KEYS = ("image_id", "category_id", "bbox", "score")


def load_annotations(path: str | Path) -> dict[str, Any]:
    """A COCO annotation file: a dictionary with `images`, `annotations` and `categories`.

    Raises:
        InputError: the file is missing or no JSON, a part is missing, an id is not a whole number, occurs twice or
            names nothing, a box is not four finite numbers.
    """
    path = Path(path)
    data = _read_json(path, "data.annotations")
    if not isinstance(data, dict):
        raise InputError(
            f"{path}: holds {_kind(data)}; COCO annotations are an object with {', '.join(ANNOTATION_KEYS)} "
            f"(a list is a results file: give it as predictions=)"
        )
    for key in ANNOTATION_KEYS:
        if not isinstance(data.get(key), list):
            raise InputError(
                f"{path}: has no list {key!r}; COCO annotations need {', '.join(ANNOTATION_KEYS)}, as in "
                f"instances_val2017.json"
            )
        if key != "annotations" and not data[key]:
            raise InputError(f"{path}: the list {key!r} is empty; there is nothing to evaluate")
        for number, entry in enumerate(data[key]):
            if not isinstance(entry, dict):
                raise InputError(f"{path}: {key}[{number}] is {_kind(entry)}; must be an object")
    images = _unique_ids(path, data["images"], "images")
    categories = _unique_ids(path, data["categories"], "categories")
    _check_names(path, data["categories"])
    for number, annotation in enumerate(data["annotations"]):
        place = f"{path}: annotations[{number}]"
        _check_id(place, annotation, "image_id", images, "an id of the list 'images'")
        _check_id(place, annotation, "category_id", categories, "an id of the list 'categories'")
        _check_box(place, annotation)
        area = annotation.get("area", 0.0)
        if not _is_finite(area) or area < 0:
            raise InputError(f"{place} has area {area!r}; must be a finite number of square pixels, or left out")
        if annotation.get("iscrowd", 0) not in (0, 1):
            raise InputError(f"{place} has iscrowd {annotation['iscrowd']!r}; must be 0 or 1")
    return data


def load_results(path: str | Path, ground_truth: dict[str, Any]) -> list[dict[str, Any]]:
    """A COCO results file: a list of objects with `image_id`, `category_id`, `bbox` and `score`.

    An empty list is a result, and reported: nothing was detected.

    Args:
        ground_truth: what `load_annotations` gave; the results must speak of its images and categories.
    Raises:
        InputError: the file is missing or no JSON, it holds no list, an entry lacks something or does not fit.
    """
    path = Path(path)
    data = _read_json(path, "predictions")
    if not isinstance(data, list):
        raise InputError(
            f"{path}: holds {_kind(data)}; COCO results are a list of objects with {', '.join(RESULT_KEYS)}"
        )
    if not data:
        logger.warning("%s: the list is empty, nothing was detected", path)
    images = {image["id"] for image in ground_truth["images"]}
    categories = {category["id"] for category in ground_truth["categories"]}
    for number, entry in enumerate(data):
        place = f"{path}: entry {number}"
        if not isinstance(entry, dict):
            raise InputError(f"{place} is {_kind(entry)}; must be an object with {', '.join(RESULT_KEYS)}")
        _check_id(
            place, entry, "image_id", images, f"one of the annotations' {len(images)} images; is it another split?"
        )
        _check_id(
            place, entry, "category_id", categories,
            f"one of the annotations' category ids {min(categories)} .. {max(categories)}, not the index of a class",
        )  # fmt: skip
        _check_box(place, entry)
        score = entry.get("score")
        if not _is_finite(score):
            raise InputError(f"{place} has score {score!r}; must be a finite number")
    return data


def _read_json(path: Path, argument: str) -> Any:
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{argument}={path}: there is no such file; give the path of a COCO JSON file") from None
    except OSError as error:
        raise InputError(f"{argument}={path}: cannot be read ({error.strerror}); give a readable file") from None
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(
            f"{path}: no complete JSON, line {error.lineno} column {error.colno}: {error.msg}; write or copy it again"
        ) from None
    except (UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{path}: is no JSON text ({error}); give a COCO JSON file") from None


def _unique_ids(path: Path, entries: list[dict[str, Any]], name: str) -> set[int]:
    ids: set[int] = set()
    for number, entry in enumerate(entries):
        place = f"{path}: {name}[{number}]"
        value = entry.get("id")
        if not isinstance(value, int) or isinstance(value, bool):
            raise InputError(f"{place} has id {value!r}; must be a whole number")
        if value in ids:
            raise InputError(f"{place} has id {value}, which occurs before; every id must occur once")
        ids.add(value)
    return ids


def _check_names(path: Path, categories: list[dict[str, Any]]) -> None:
    names: set[str] = set()
    for number, category in enumerate(categories):
        name = category.get("name")
        if not isinstance(name, str) or not name:
            raise InputError(f"{path}: categories[{number}] has name {name!r}; must be a text")
        if name in names:
            raise InputError(f"{path}: categories[{number}] has name {name!r}, which occurs before; rename one of them")
        names.add(name)


def _check_id(place: str, entry: dict[str, Any], key: str, known: set[int], allowed: str) -> None:
    if key not in entry:
        raise InputError(f"{place} has no {key!r}; must be {allowed}")
    value = entry[key]
    if not isinstance(value, int) or isinstance(value, bool) or value not in known:
        raise InputError(f"{place} has {key} {value!r}; must be {allowed}")


def _check_box(place: str, entry: dict[str, Any]) -> None:
    if "bbox" not in entry:
        raise InputError(f"{place} has no 'bbox'; must be [x, y, width, height] in pixels (masks are not scored)")
    box = entry["bbox"]
    if not isinstance(box, list) or len(box) != 4 or not all(map(_is_finite, box)) or min(box[2:]) < 0:
        raise InputError(
            f"{place} has bbox {box!r}; must be four finite numbers x, y, width, height, with no negative size"
        )


def _is_finite(value: object) -> bool:
    """JSON's whole numbers have no limit: one that no float can hold is not finite here."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def _kind(value: object) -> str:
    """In JSON's words."""
    kinds = {dict: "an object", list: "a list", str: "a text", bool: "a truth value", type(None): "null"}
    return kinds.get(type(value), "a number")
