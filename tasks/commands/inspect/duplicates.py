"""Images that occur more than once: within a split, or in training and in evaluation."""

from __future__ import annotations

import re
from itertools import product
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from backbone.errors import InputError
from tasks.commands.inspect.findings import Finding, Severity
from tasks.data.files.encoded import EncodedData
from tasks.data.files.images import read_bytes
from tasks.data.files.twins import twins
from tasks.data.fingerprint import same_images

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tasks.commands.inspect.reading import Reading


NEIGHBOURS = 5
"""Frames apart that still are neighbours."""
LAST_NUMBER = re.compile(r"(.*?)([0-9]{1,18})([^0-9]*)", re.DOTALL)


class Place(NamedTuple):
    """An image: its split and its position there."""

    split: str
    position: int


def find_groups(readings: Mapping[str, Reading]) -> list[list[Place]]:
    """Places of images that look the same, of all splits."""
    places = [
        Place(split, int(position))
        for split, reading in readings.items()
        for position in reading.positions[reading.good]
    ]
    hashes = np.concatenate([reading.hashes[reading.good] for reading in readings.values()])
    thumbnails = np.concatenate([reading.thumbnails[reading.good] for reading in readings.values()])
    return [[places[member] for member in group] for group in same_images(hashes, thumbnails)]


def report_groups(groups: list[list[Place]], readings: Mapping[str, Reading]) -> list[Finding]:
    """Leaks between splits are errors, but for frames of one video that look the same, which are a warning, as is an
    image that is twice in one split, or of two classes.
    """
    leaks: dict[tuple[str, str], list[str]] = {}
    filmed: dict[tuple[str, str], list[str]] = {}
    twice: dict[str, list[str]] = {}
    torn: list[str] = []
    for group in groups:
        first = {place.split: place for place in reversed(group)}
        splits = [split for split in readings if split in first]
        for number, one in enumerate(splits):
            for other in splits[number + 1 :]:
                of_one, of_other = ([place for place in group if place.split == split] for split in (one, other))
                pair, is_filmed = _leak(list(product(of_one, of_other)), readings)
                (filmed if is_filmed else leaks).setdefault((one, other), []).append(_pair(*pair, readings))
        for place in group:
            if place != first[place.split] and _path(place, readings) != _path(first[place.split], readings):
                twice.setdefault(place.split, []).append(_pair(first[place.split], place, readings))
        classes = {class_name for place in group if (class_name := _class_of(place, readings)) is not None}
        if len(classes) > 1:
            torn.append(f"{_pair(group[0], group[-1], readings)} ({', '.join(sorted(classes))})")
    findings = []
    for (one, other), cases in leaks.items():
        text = (
            f"{cases[0]}: what is in {one} and in {other} makes the figures on {other} too good; remove such images"
            " from one of the two"
        )
        findings.append(Finding(Severity.error, f"leak between {one} and {other}", text, cases))
    for (one, other), cases in filmed.items():
        text = (
            f"{cases[0]}: neighbouring frames of a video in {one} and in {other} make the metrics on {other} too good;"
            " split videos as a whole"
        )
        findings.append(Finding(Severity.warning, f"frames of a video in {one} and {other}", text, cases))
    for split, cases in twice.items():
        text = f"{cases[0]}: images that occur more than once weigh more than others; keep one of each"
        findings.append(Finding(Severity.warning, "duplicate", text, cases, split))
    if torn:
        text = f"{torn[0]}: one image is of two classes; keep it in the right one"
        findings.append(Finding(Severity.warning, "duplicate of two classes", text, torn))
    return findings


def _leak(pairs: list[tuple[Place, Place]], readings: Mapping[str, Reading]) -> tuple[tuple[Place, Place], bool]:
    """The pair of two splits that says most, and whether that is neighbouring frames of a video and no copy."""
    paths = [(_path(one, readings), _path(other, readings)) for one, other in pairs]
    same = twins(dict.fromkeys(one for one, _ in paths), list(dict.fromkeys(other for _, other in paths)))
    if same:
        return pairs[paths.index(same[0])], False
    near = next((place for place, (one, other) in enumerate(paths) if are_neighbours(one, other)), None)
    return pairs[near or 0], near is not None


def are_neighbours(one: Path, other: Path) -> bool:
    """Whether two names differ in their last number only, and there by little, as frames of a video do."""
    names = [LAST_NUMBER.fullmatch(path.stem) for path in (one, other)]
    if None in names:
        return False
    (start, number, rest), (other_start, other_number, other_rest) = (name.groups() for name in names if name)
    return (start, rest) == (other_start, other_rest) and 0 < abs(int(number) - int(other_number)) <= NEIGHBOURS


def _pair(one: Place, other: Place, readings: Mapping[str, Reading]) -> str:
    paths = _path(one, readings), _path(other, readings)
    if paths[0] == paths[1]:
        return f"{paths[0]} is listed in both"
    return f"{paths[0]} {'is byte for byte' if _same_bytes(one, other, readings) else 'looks like'} {paths[1]}"


def _same_bytes(one: Place, other: Place, readings: Mapping[str, Reading]) -> bool:
    if any(isinstance(readings[place.split].data, EncodedData) and not _path(place, readings).is_file()
           for place in (one, other)):  # fmt: skip
        return False  # a member of a shard
    try:
        return read_bytes(_path(one, readings)) == read_bytes(_path(other, readings))
    except InputError:
        return False  # gone since it was looked at


def _path(place: Place, readings: Mapping[str, Reading]) -> Path:
    return readings[place.split].data.path(place.position)


def _class_of(place: Place, readings: Mapping[str, Reading]) -> str | None:
    data = readings[place.split].data
    classes = getattr(data, "classes", None)
    return None if classes is None else data.labels.names[int(classes()[place.position])]
