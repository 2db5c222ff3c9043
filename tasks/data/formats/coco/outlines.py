"""Outlines of objects as COCO's files state them: polygons, or run lengths.

Held in a few arrays, shared with worker processes, and drawn when an image is read.
Shapes: B objects, Q polygons, P numbers, H W pixels.
"""

from __future__ import annotations

import contextlib
import itertools
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from pycocotools import mask as coco_mask

from tasks.data.files.contents import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

MAX_OUTSIDE = 10
"""How many of its image's sides a corner may lie outside: where an image was cropped, outlines may go on."""
MAX_COORDINATE = 1 << 26
"""Above it pycocotools counts over."""
MAX_LENGTH_PX = 4_000_000
"""Longest polygon that is drawn, in pixels of its image; an outline around every pixel of COCO's images is shorter."""
MIN_NUMBERS = 6
"""Fewest numbers of a polygon: three corners. pycocotools takes four numbers for a box."""

PAIRS = [[int, int], [int, float], [float, int], [float, float]]


@dataclass(slots=True)
class Outlines:
    """Outlines of B objects.

    Attributes:
        numbers: (P,) float64, x and y in turn, in pixels.
        polygons: (Q + 1,) int64, where each polygon starts in `numbers`.
        objects: (B + 1,) int64, where each object's polygons start in `polygons`.
        runs: by position, objects that are given by run lengths; they have no polygons.
    """

    numbers: NDArray[np.float64]
    polygons: NDArray[np.int64]
    objects: NDArray[np.int64]
    runs: dict[int, dict[str, Any]]

    @classmethod
    def pack(cls, outlines: Sequence[Any]) -> Outlines:
        """Pack outlines that `fault` has nothing against."""
        lists: list[list[NDArray[np.float64]]] = [o if isinstance(o, list) else [] for o in outlines]
        polygons = [polygon for outline in lists for polygon in outline]
        return cls(
            numbers=np.concatenate([np.zeros(0), *polygons]),
            polygons=_starts([len(polygon) for polygon in polygons]),
            objects=_starts([len(outline) for outline in lists]),
            runs={place: _compressed(o) for place, o in enumerate(outlines) if isinstance(o, dict)},
        )

    def run_lengths(self, position: int, height: int, width: int) -> dict[str, Any]:
        """Inside of an object in an image of this size, as pycocotools keeps it."""
        if position in self.runs:
            return self.runs[position]
        own = self.polygons[self.objects[position] : self.objects[position + 1] + 1].tolist()
        parts = [self.numbers[start:end] for start, end in itertools.pairwise(own)]
        merged: dict[str, Any] = coco_mask.merge(coco_mask.frPyObjects(parts, height, width))
        return merged

    def plain(self, position: int) -> list[list[float]] | dict[str, Any]:
        """Outline of an object as COCO's files have it: polygons, or run lengths as a string."""
        if position in self.runs:
            counts = self.runs[position]["counts"]
            return {
                "size": list(self.runs[position]["size"]),
                "counts": counts.decode("ascii") if isinstance(counts, bytes) else counts,
            }
        own = self.polygons[self.objects[position] : self.objects[position + 1] + 1].tolist()
        return [self.numbers[start:end].tolist() for start, end in itertools.pairwise(own)]


def pixels_of(drawn: Sequence[dict[str, Any]]) -> NDArray[np.int64]:
    """(objects,) pixels inside of each object, given by run lengths."""
    return np.asarray(coco_mask.area(list(drawn)), dtype=np.int64)


def inside(runs: dict[str, Any]) -> NDArray[np.bool_]:
    """(H, W) inside of an object; its columns lie one after the other in memory."""
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # of numpy 2, about pycocotools
        mask: NDArray[np.uint8] = coco_mask.decode(runs)
    return mask.view(np.bool_)


def with_arrays(entry: dict[str, Any]) -> dict[str, Any]:
    """An object of a JSON file, its polygons as arrays: a fifth of the memory. What is no polygon stays.

    A polygon is x and y in turn, or a list of pairs [x, y].
    """
    outline = entry.get("segmentation")
    if isinstance(outline, list):
        outline = [_flat(polygon) for polygon in ([outline] if _are_pairs(outline) else outline)]
    if isinstance(outline, list) and all(type(polygon) is list for polygon in outline):
        kinds = {type(number) for polygon in outline for number in polygon}
        if kinds <= {int, float}:
            with contextlib.suppress(OverflowError):  # a number that no float can hold
                entry["segmentation"] = [np.array(polygon, dtype=np.float64) for polygon in outline]
    return entry


def _are_pairs(polygon: Any) -> bool:
    """Whether a polygon is at least three pairs of numbers."""
    return (
        type(polygon) is list and 2 * len(polygon) >= MIN_NUMBERS
        and all(type(pair) is list and list(map(type, pair)) in PAIRS for pair in polygon)
    )  # fmt: skip


def _flat(polygon: Any) -> Any:
    return list(itertools.chain.from_iterable(polygon)) if _are_pairs(polygon) else polygon


def fault(outline: Any, size: tuple[int, int]) -> str | None:
    """What is wrong with the outline of an object; None if nothing is.

    Args:
        outline: as `with_arrays` leaves it.
        size: height and width of the image in pixels.
    """
    if not outline:
        return "has no outline"
    if isinstance(outline, dict):
        return _fault_of_runs(outline, size)
    if not isinstance(outline, list) or not all(isinstance(polygon, np.ndarray) for polygon in outline):
        return "is neither a list of polygons nor run lengths"
    if any(polygon.ndim != 1 or len(polygon) < MIN_NUMBERS or len(polygon) % 2 for polygon in outline):
        return f"has a polygon that is not x and y in turn, at least {MIN_NUMBERS} numbers"
    if not all(np.isfinite(polygon).all() for polygon in outline):
        return "has a polygon with numbers that are not finite"
    return _fault_of_corners(outline, size)


def _fault_of_corners(outline: list[NDArray[np.float64]], size: tuple[int, int]) -> str | None:
    """What is wrong with polygons that pycocotools would draw in memory of their length, or crash on."""
    sides = np.array([size[1], size[0]], dtype=np.float64)
    for polygon in outline:
        corners = polygon.reshape(-1, 2)
        if (
            (corners < -MAX_OUTSIDE * sides).any()
            or (corners > (1 + MAX_OUTSIDE) * sides).any()
            or (np.abs(corners) > MAX_COORDINATE).any()
        ):
            return f"has a corner that is further outside its image than {MAX_OUTSIDE} times its sides"
        length = np.abs(np.diff(corners, axis=0, append=corners[:1])).max(axis=1).sum()
        if length > MAX_LENGTH_PX:
            return f"has a polygon {length:.0f} pixels long; {MAX_LENGTH_PX} at most are drawn"
    return None


def _fault_of_runs(runs: dict[str, Any], size: tuple[int, int]) -> str | None:
    counts = runs.get("counts")
    if runs.get("size") != list(size):
        return f"has run lengths of size {shown(runs.get('size'))}, not {list(size)} (height, width) as its image"
    if isinstance(counts, str):
        counts = _counts_of(counts)
    if not isinstance(counts, list) or not all(isinstance(count, int) and count >= 0 for count in counts):
        return "has run lengths that are neither a list of whole numbers nor COCO's string of one"
    if sum(counts) != size[0] * size[1]:
        return f"has run lengths that sum to {sum(counts)}, not to the {size[0] * size[1]} pixels of its image"
    return None


def _counts_of(text: str) -> list[int] | None:
    """The run lengths in COCO's string of them; None if it is none. pycocotools would read on in foreign memory.

    A character less 48 holds five bits, the lowest first, and a sixth that says whether more follow; the last of the
    five is the sign. From the fourth number on, what is written is the difference to the last but one.
    """
    counts: list[int] = []
    value = shift = 0
    for code in (ord(character) - 48 for character in text):
        if not 0 <= code < 64:
            return None
        value |= (code & 31) << shift
        shift += 5
        if code & 32:
            continue
        if code & 16:
            value -= 1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value = shift = 0
    return None if shift else counts


def _compressed(runs: dict[str, Any]) -> dict[str, Any]:
    if isinstance(runs["counts"], str):
        return runs
    compressed: dict[str, Any] = coco_mask.frPyObjects(runs, *runs["size"])
    return compressed


def _starts(lengths: list[int]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64)
