"""COCO's annotation files (instances): one reader and one strictness, to train on them and to score against them.

Reference: https://cocodataset.org/#format-data.
"""

from __future__ import annotations

import json
import math
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backbone.errors import InputError
from tasks.data.config import MAX_MEGAPIXELS
from tasks.data.faults import fault
from tasks.data.files.contents import parse_json, read_bytes, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Entry = dict[str, Any]

LISTS = ("images", "annotations", "categories")
MAX_JSON_BYTES = 16 << 30
INT64 = 2**63
FLOAT_OR_NULL = (float, type(None))
MEGAPIXEL = 1_000_000


def existing(path: str | Path, argument: str) -> Path:
    """Path of a file that `argument` names.

    Raises:
        InputError: there is no such file.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{argument}={path}: there is no such file; give the path of a COCO JSON file")
    return path


def read_json(file: Path, change: Callable[[Entry], Entry] | None = None) -> Any:
    """Contents of a JSON file.

    Args:
        change: called with every object as soon as it is read; what it gives takes its place.

    Raises:
        InputError: it cannot be read, or is no whole JSON text.
    """
    data = read_bytes(file, "give a readable file", MAX_JSON_BYTES)
    try:
        return parse_json(data, change)
    except json.JSONDecodeError as error:
        raise InputError(
            f"{file}: no complete JSON, line {error.lineno} column {error.colno}: {error.msg}; write or copy it again"
        ) from None
    except ValueError as error:
        raise InputError(f"{file}: is no JSON text ({error}); give a COCO JSON file") from None


def read_instances(file: Path, change: Callable[[Entry], Entry] | None = None) -> dict[str, list[Entry]]:
    """An annotation file whose entries hold values of the right types: `images`, `annotations` and `categories`.

    Images and categories have whole numbers as `id`, each once, and categories a text as `name`, each once. Annotations
    have whole numbers as `image_id` and `category_id`, and where they have `bbox`, four numbers (or null) in it, as
    `area` a number that is not negative, as `iscrowd` 0 or 1. Whether a box can be used, and whether ids belong
    together, is not looked at.

    Args:
        change: see `read_json`.

    Raises:
        InputError: it is broken, or something in it is not so; the message names the entry.
    """
    contents = read_json(file, change)
    if not isinstance(contents, dict):
        raise InputError(
            f"{file}: holds {kind_of(contents)}; COCO annotations are an object with {', '.join(LISTS)} "
            f"(a list is a results file: give it as predictions=)"
        )
    for name in LISTS:
        if not isinstance(contents.get(name), list):
            raise InputError(
                f"{file}: has no list {name!r}; COCO annotations need {', '.join(LISTS)}, as in instances_val2017.json"
            )
        if name != "annotations" and not contents[name]:
            raise InputError(f"{file}: the list {name!r} is empty; choose another split or complete the file")
        check_objects(contents[name], name, file)
    for name in ("images", "categories"):
        _check_once(whole_numbers(contents[name], "id", name, file), "id", name, file)
    _check_once(texts(contents["categories"], "name", "categories", file), "name", "categories", file)
    check_annotations(contents["annotations"], "annotations", file)
    return contents


def check_objects(rows: Sequence[Any], what: str, file: Path) -> None:
    """See that the entries of a list are objects; an InputError names the first that is none."""
    position = next((position for position, row in enumerate(rows) if not isinstance(row, dict)), None)
    if position is not None:
        raise InputError(f"{file}: {what}[{position}] is {kind_of(rows[position])}; must be an object")


def check_annotations(rows: list[Entry], what: str, file: Path) -> None:
    """See that annotations hold values of the right types, as `read_instances` says; an InputError names the first."""
    for key in ("image_id", "category_id"):
        whole_numbers(rows, key, what, file)
    _check_values(rows, "bbox", what, file, _is_box, "must be [x, y, width, height] in pixels, four numbers")
    _check_values(
        rows, "area", what, file, _is_area, "must be a finite number of square pixels, not negative, or left out"
    )
    _check_values(rows, "iscrowd", what, file, _is_flag, "must be 0 or 1")


def column(rows: list[Entry], key: str, what: str, file: Path) -> list[Any]:
    """Value of `key` in every row; an InputError names the first row without it."""
    try:
        return [row[key] for row in rows]
    except KeyError:
        position = next(position for position, row in enumerate(rows) if key not in row)
        raise InputError(f"{file}: {what}[{position}] has no {key!r}; add it or remove the entry") from None


def whole_numbers(rows: list[Entry], key: str, what: str, file: Path) -> list[int]:
    """Value of `key` in every row; an InputError names the first that has none or no whole number."""
    values = column(rows, key, what, file)
    if set(map(type, values)) - {int} or (values and (min(values) < -INT64 or max(values) >= INT64)):
        _check_values(rows, key, what, file, _is_whole, "must be a whole number")
    return values


def texts(rows: list[Entry], key: str, what: str, file: Path) -> list[str]:
    """Value of `key` in every row; an InputError names the first that has none or no text."""
    values = column(rows, key, what, file)
    _check_values(rows, key, what, file, _is_text, "must be a text")
    return values


def image_sizes(images: list[Entry], file: Path) -> list[tuple[int, int]]:
    """Height and width of every image; an InputError names the first that cannot be one."""
    sides = [whole_numbers(images, side, "images", file) for side in ("height", "width")]
    sizes = list(zip(*sides, strict=True))
    for position, (height, width) in enumerate(sizes):
        if min(height, width) < 1 or height * width > MAX_MEGAPIXELS * MEGAPIXEL:
            raise InputError(
                f"{file}: images[{position}] has width {width} and height {height}; must be from 1 pixel up, and"
                f" {MAX_MEGAPIXELS} megapixels at most"
            )
    return sizes


def kind_of(value: object) -> str:
    """What a value is, in JSON's words."""
    kinds = {dict: "an object", list: "a list", str: "a text", bool: "a truth value", type(None): "null"}
    return kinds.get(type(value), "a number")


def called(row: Entry) -> str:
    """What a file calls an annotation, for messages."""
    return f"annotation {shown(row['id'])}" if "id" in row else "an annotation without id"


def is_number(value: object) -> bool:
    """Whether a value is a finite number. JSON's whole numbers have no limit: one that no float can hold is none."""
    if type(value) is int:
        return abs(value) <= sys.float_info.max
    return type(value) is float and math.isfinite(value)


def _check_once(values: Sequence[int] | Sequence[str], key: str, what: str, file: Path) -> None:
    again = [value for value, count in Counter(values).items() if count > 1]
    if again:
        position = len(values) - 1 - values[::-1].index(again[0])
        text = f"{file}: {what}[{position}] has {key} {shown(again[0])}, which occurs before; each must occur once"
        if key == "name":
            text += ": rename one of them"
        fault(f"{what} with one {key}", text, [f"{file}: {key} {shown(value)}" for value in again])


def _check_values(rows: list[Entry], key: str, what: str, file: Path, fits: Callable[[Any], bool], wanted: str) -> None:
    """See that the value of `key` fits in every row that has it."""
    if not all(map(fits, [row[key] for row in rows if key in row])):
        position = next(position for position, row in enumerate(rows) if key in row and not fits(row[key]))
        raise InputError(f"{file}: {what}[{position}] has {key} {shown(rows[position][key])}; {wanted}")


def _is_whole(value: object) -> bool:
    return type(value) is int and -INT64 <= value < INT64


def _is_text(value: object) -> bool:
    return type(value) is str and value != ""


def _is_box(value: object) -> bool:
    """Four numbers; what is not finite (or null) is a bad box, and whoever reads it decides what comes of it."""
    return (
        type(value) is list and len(value) == 4 and all(type(one) in FLOAT_OR_NULL or is_number(one) for one in value)
    )


def _is_area(value: object) -> bool:
    return is_number(value) and value >= 0  # type: ignore[operator]


def _is_flag(value: object) -> bool:
    return type(value) in (int, bool) and value in (0, 1)
