"""What an evaluation needs from files of anybody's making: COCO annotations and COCO results (predictions).

Everything that would be counted wrongly, or would crash later without a file name, is an error here.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np

from backbone.errors import InputError
from tasks.data.checks import are_fractions, outside_as_sizes
from tasks.data.files.contents import shown
from tasks.data.formats.coco.instances import existing, is_number, kind_of, read_instances, read_json

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

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
    images, categories = ({entry["id"]: entry for entry in data[name]} for name in ("images", "categories"))
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
    images = {image["id"]: image for image in ground_truth["images"]}
    categories = {category["id"]: category for category in ground_truth["categories"]}
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
    if data:
        _question(path, data, images)
    return data


def _question(path: Path, data: list[dict[str, Any]], images: Mapping[int, dict[str, Any]]) -> None:
    """Say of results that are well-formed what makes their scores worthless or worse than they need be."""
    if (highest := max(entry["score"] for entry in data)) > 1:
        logger.warning(
            "%s: scores go up to %g, so they are no probabilities (per cent?); only their order counts here",
            path, highest,
        )  # fmt: skip
    if copies := len(data) - len({(e["image_id"], e["category_id"], e["score"], *e["bbox"]) for e in data}):
        logger.warning(
            "%s: %d of %d entries repeat another one in everything; each copy counts as a false detection",
            path, copies, len(data),
        )  # fmt: skip
    boxes = np.array([entry["bbox"] for entry in data], dtype=np.float64)
    if are_fractions(boxes):
        logger.warning(
            "%s: all boxes lie between 0 and 1, so they look like fractions of the image, and are scored as pixels:"
            " multiply x and width by the image's width, y and height by its height",
            path,
        )
    sides = [[images[entry["image_id"]].get(side) for side in ("height", "width")] for entry in data]
    known = [place for place, pair in enumerate(sides) if all(is_number(side) for side in pair)]
    sizes = np.array([sides[place] for place in known], dtype=np.int64).reshape(-1, 2)
    if outside := outside_as_sizes(boxes[known], sizes):
        logger.warning(
            "%s: %d of %d boxes reach outside their image as x, y, width, height, and fit as x1, y1, x2, y2: they look"
            " like corners, and are scored as sizes: write width and height for the second corner",
            path, outside, len(known),
        )  # fmt: skip


def _check_id(place: str, entry: dict[str, Any], key: str, known: Mapping[int, dict[str, Any]], allowed: str) -> None:
    if key not in entry:
        raise InputError(f"{place} has no {key!r}; must be {allowed}")
    value = entry[key]
    if type(value) is int and value in known:
        return
    if type(value) is not int:
        allowed = "a whole number, without quotes or a point, as the annotations have it"
        named = [one for one, of in known.items() if value in _names(of)]
        allowed += f": {value} is called by the id {named[0]} there" if named else ""
    raise InputError(f"{place} has {key} {shown(value)}; must be {allowed}")


def _names(entry: dict[str, Any]) -> list[str]:
    """What an image or category may be called instead of its id."""
    name = str(entry.get("file_name", entry.get("name", "")))
    return [name, name.rpartition(".")[0]] if name else []


def _check_box(place: str, entry: dict[str, Any]) -> None:
    if "bbox" not in entry:
        raise InputError(f"{place} has no 'bbox'; must be [x, y, width, height] in pixels (masks are not scored)")
    box = entry["bbox"]
    if not isinstance(box, list) or len(box) != 4 or not all(map(is_number, box)) or min(box[2:]) < 0:
        raise InputError(
            f"{place} has bbox {shown(box)}; must be four finite numbers x, y, width, height, with no negative size"
        )
