"""What both readers ask of a data set before anything expensive starts. Each failure is one InputError."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

import numpy as np

from backbone.errors import InputError
from tasks.data.config import BadBoxes
from tasks.data.faults import caution, fault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from tasks.data.files.boundary import Boundary

SLACK_PX = 1.0
"""Tools round and count from 0 or 1: a box this far outside its image is clipped without a word."""

MANY_OUTSIDE = 0.2
"""Share of boxes outside their images from which on one asks whether they are meant otherwise."""
NEARLY_ALL = 0.95
"""Share of boxes that fit as corners, from which on they look like that."""


def require_root(root: str | None, what: str, remedy: str) -> str:
    """`root` if it names a folder.

    Raises:
        InputError: it is not set, or there is no such folder.
    """
    if root is None:
        raise InputError(f"data.root is not set; give the folder of {what}: {remedy}")
    require_folder(root, what, remedy)
    return root


def require_folder(path: Path | str, what: str, remedy: str) -> None:
    if not os.path.isdir(path):  # noqa: PTH112 - `path` may be a string
        raise InputError(f"{path}: there is no such folder; {what} should be there: {remedy}")


def require_file(path: Path, what: str, remedy: str) -> None:
    if not path.is_file():
        raise InputError(f"{path}: there is no such file; {what} should be there: {remedy}")


def check_images_exist(
    folder: Path, names: Iterable[str], listed_in: Path, boundary: Boundary, what: str = "image"
) -> None:
    """See that every one of `names` is a file under `folder`, within the data set. Each folder is read once.

    Args:
        boundary: of the data set.
        what: the files are: "image" or "mask".

    Raises:
        InputError: names the first file that is absent or lies outside, and counts the rest.
    """
    by_parent: dict[Path, list[Path]] = defaultdict(list)
    for name in names:
        path = folder / name
        by_parent[path.parent].append(path)
    absent: list[Path] = []
    outside: list[Path] = []
    for parent, paths in by_parent.items():
        if not os.path.isdir(parent):  # noqa: PTH112 - a name may be too long to be one
            absent.extend(paths)
            continue
        if not boundary.holds(parent):
            outside.extend(paths)
            continue
        with os.scandir(parent) as entries:
            is_link = {entry.name: entry.is_symlink() for entry in entries}
        absent.extend(path for path in paths if path.name not in is_link)
        outside.extend(path for path in paths if is_link.get(path.name) and not boundary.holds(path))
    boundary.report(outside, listed_in)
    if absent:
        more = f" and {len(absent) - 1} more" if len(absent) > 1 else ""
        text = f"{absent[0]}: this {what}{more} is listed in {listed_in} but absent; add the file or remove its entry"
        fault(f"missing {what}", text, [str(path) for path in absent], unread=True)


def check_index(index: int, length: int) -> None:
    """See that a split of `length` images has one at this position; an IndexError otherwise."""
    if not 0 <= index < length:
        raise IndexError(f"image {index}: must be in 0 .. {length - 1}")


def check_unique(values: Sequence[object] | NDArray[np.generic], what: str, file: Path) -> None:
    """See that no value occurs twice; an InputError names the first that does."""
    again = [value for value, count in Counter(values).items() if count > 1]
    if again:
        text = f"{file}: {what} {again[0]} occurs more than once; each must occur once: remove the others"
        fault(f"{what} listed twice", text, [f"{file}: {value}" for value in again])


def settle_boxes(
    boxes_xyxy_px: NDArray[np.float64],
    sizes: NDArray[np.int64],
    policy: BadBoxes,
    file: Path,
    describe: Callable[[int], str],
) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """Find the boxes that cannot be learned and clip the others to their images.

    Args:
        boxes_xyxy_px: (B, 4) of the whole split, as written in the files.
        sizes: (B, 2) height and width in pixels of the image of each box.
        policy: what to do with boxes of NaN, without area, or wholly outside.
        file: named in the messages.
        describe: names the image and annotation of a box, given its position.

    Returns:
        (B,) which boxes to keep, and (B, 4) the clipped boxes.

    Raises:
        InputError: there is a bad box and the policy is `error`.
    """
    sides = boxes_xyxy_px[:, 2:] - boxes_xyxy_px[:, :2]
    limits = np.tile(sizes[:, ::-1], 2).astype(np.float64)
    clipped = np.clip(boxes_xyxy_px, 0.0, limits).astype(np.float32)
    reasons = (
        ("is not a number or infinite", _any_of_row(~np.isfinite(boxes_xyxy_px))),
        ("has no area", _any_of_row(sides <= 0)),
        ("lies outside the image", _any_of_row(clipped[:, 2:] <= clipped[:, :2])),
    )
    bad = reasons[0][1] | reasons[1][1] | reasons[2][1]
    if bad.any():
        first = int(bad.argmax())
        reason = next(text for text, which in reasons if which[first])
        count = f"{int(bad.sum())} of {len(bad)} boxes cannot be used; the first, {describe(first)}, {reason}"
        cases = [describe(box) for box in np.flatnonzero(bad).tolist()]
        if policy is BadBoxes.error:
            remedy = "correct the file or leave such boxes out by data.bad_boxes=drop"
            fault("degenerate box", f"{file}: {count}; {remedy}", cases)
        else:
            caution("degenerate box", f"{file}: {count}; they are left out (data.bad_boxes=drop)", cases)
    outside = ~bad & _any_of_row(np.abs(boxes_xyxy_px - clipped) > SLACK_PX)
    if outside.any():
        cases = [describe(box) for box in np.flatnonzero(outside).tolist()]
        text = f"{file}: {len(cases)} boxes reach outside their image and are clipped; the first is {cases[0]}"
        caution("box outside its image", text, cases)
    return ~bad, clipped


def question_units(bbox_xywh_px: NDArray[np.float64], sizes: NDArray[np.int64], file: Path) -> None:
    """Say of boxes that they look like fractions of their images, or like corners instead of a corner and a size.

    Args:
        bbox_xywh_px: (B, 4) of the whole split, as written in the files.
        sizes: (B, 2) height and width in pixels of the image of each box.

    Raises:
        InputError: they look like fractions, unless faults are collected.
    """
    finite = np.isfinite(bbox_xywh_px).all(axis=1)
    numbers = bbox_xywh_px[finite]
    if are_fractions(numbers):
        fault(
            "boxes as fractions",
            f"{file}: all {len(numbers)} boxes lie between 0 and 1, so they look like fractions of the image; pixels"
            " are expected: multiply x and width by the image's width, y and height by its height",
            [str(file)],
        )
    if outside := outside_as_sizes(numbers, sizes[finite]):
        caution(
            "boxes as corners",
            f"{file}: {outside} of {len(numbers)} boxes reach outside their image as x, y, width, height, and fit as"
            " x1, y1, x2, y2: they look like corners; write width and height for the second corner",
            [str(file)],
        )


def are_fractions(boxes: NDArray[np.float64]) -> bool:
    """Whether boxes (B, 4), meant in pixels, look like fractions of their images."""
    return len(boxes) > 0 and bool(np.abs(boxes).max() <= 1 and (boxes % 1).any())


def outside_as_sizes(boxes: NDArray[np.float64], sizes: NDArray[np.int64]) -> int:
    """How many boxes reach outside their images, where they look like corners instead of a corner and a size; else 0.

    Args:
        boxes: (B, 4) x, y, width, height in pixels, or so they are meant.
        sizes: (B, 2) height and width in pixels of the image of each box.
    """
    limits = sizes[:, ::-1] + SLACK_PX
    outside = int(_any_of_row(boxes[:, :2] + boxes[:, 2:] > limits).sum())
    fit = ((boxes[:, 2:] > boxes[:, :2]) & (boxes[:, 2:] <= limits)).all(axis=1)
    return outside if outside > MANY_OUTSIDE * len(boxes) and fit.sum() >= NEARLY_ALL * len(boxes) else 0


def _any_of_row(values: NDArray[np.bool_]) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = np.logical_or.reduce(values, axis=1)
    return found
