"""A file of YOLO labels: a line for each object, its class and a box or an outline in fractions of the image.

A box is centre and size, an outline the corners one after the other; x and width are fractions of the image's width.
Shapes: M objects, P numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from backbone.errors import InputError
from tasks.data.files.contents import read_text, shown

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

BOX, FEWEST = 4, 6
"""Numbers of a box, and at least of an outline."""
FIX = "correct the line"
LARGEST = 1e6


@dataclass(slots=True)
class Labels:
    """The objects of an image.

    Attributes:
        lines: (M,) where each is in its file, from 1.
        classes: (M,).
        boxes_cxcywh_rel: (M, 4); of an outline the box around it.
        outlines: by position, those that have one: (P,) x and y in turn.
    """

    lines: list[int]
    classes: list[int]
    boxes_cxcywh_rel: list[list[float]]
    outlines: dict[int, NDArray[np.float64]]


def read_labels(file: Path, num_classes: int, columns: int) -> Labels:
    """The objects of a file; one that is not there has none.

    Args:
        num_classes: that there are.
        columns: numbers after the box that are left out.

    Raises:
        InputError: a line is none; the message has its number.
    """
    found = Labels([], [], [], {})
    if not file.is_file():
        return found
    for number, line in enumerate(read_text(file, "correct the file").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            first, numbers = _numbers(line, num_classes)
            place = len(found.lines)
            box, outline = _shape(numbers, columns)
        except ValueError as error:
            raise InputError(f"{file}: line {number} {error}; {FIX}") from None
        if outline is not None:
            found.outlines[place] = outline
        found.lines.append(number)
        found.classes.append(first)
        found.boxes_cxcywh_rel.append(box)
    return found


def _numbers(line: str, num_classes: int) -> tuple[int, list[float]]:
    words = line.split()
    try:
        first, numbers = float(words[0]), [float(word) for word in words[1:]]
    except ValueError:
        raise ValueError(f"is {shown(line.strip())}; it must be a class and numbers, with spaces between") from None
    if not (first.is_integer() and 0 <= first < num_classes):
        raise ValueError(f"has the class {words[0]}; there are {num_classes}, from 0 to {num_classes - 1}")
    return int(first), numbers


def _shape(numbers: list[float], columns: int) -> tuple[list[float], NDArray[np.float64] | None]:
    """The box, and the outline if it is one."""
    if not all(abs(one) < LARGEST for one in numbers):  # not a number neither
        raise ValueError("has a number that is not finite or not a fraction of the image")
    if len(numbers) == BOX or (columns and len(numbers) == BOX + columns):
        return numbers[:BOX], None
    if columns:
        raise ValueError(f"has {len(numbers)} numbers after the class; must be {BOX + columns}: a box and its points")
    if len(numbers) < FEWEST or len(numbers) % 2:
        hint = " (a score after the box is of predictions)" if len(numbers) == BOX + 1 else ""
        raise ValueError(
            f"has {len(numbers)} numbers after the class; must be 4 of a box, or x and y of at least 3 corners{hint}"
        )
    outline = np.array(numbers)
    corners = outline.reshape(-1, 2)
    low, high = corners.min(axis=0), corners.max(axis=0)
    return [*((low + high) / 2).tolist(), *(high - low).tolist()], outline
