"""Large images in tiles: where they lie, how large they should be, and one prediction from those of all of them.

Tiles have one size and overlap by a quarter. Boxes: what touches a border inside the image is cut and left out, as an
object smaller than the overlap is whole in another tile, and a larger one is seen in the whole image, which is looked
at too; of what is left, class-wise non-maximum suppression keeps the best. Masks: every pixel is taken from the tile
in whose middle it lies most.

Shapes: H W pixels of the image, D detections.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from math import ceil, sqrt
from statistics import median
from typing import TYPE_CHECKING, Any

import torch

from heads.structures import Detections, LabelMask
from heads.suppression import nms

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

OVERLAP = 0.25
"""Share of a tile's side that neighbours have in common."""
CUT = 0.01
"""Share of a tile's side: a box that comes so near to a border inside the image is cut by it."""
FEW_PX = 10.0
"""Sides of objects, as the model sees them, below which hardly any is found."""
WANTED_PX = 32.0
"""What tiles that are chosen make of them."""
LEAST = 32
"""Pixels of a tile's side."""


@dataclass(frozen=True, slots=True)
class Tile:
    """A part of an image, in its pixels."""

    top: int
    left: int
    height: int
    width: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tiling:
    """How large tiles are.

    Attributes:
        side: in pixels of the image; None: as objects need it.
        object_side: of the object in the middle, by size, in pixels of the images that are known; None: unknown.
        image_size: side in pixels at which the model sees an image.
    """

    side: int | None
    object_side: float | None = None
    image_size: int = 0

    def of(self, height: int, width: int) -> list[Tile]:
        """Tiles of an image; none where it is looked at as a whole."""
        side = self.side or self._needed(max(height, width))
        return [] if side is None or max(height, width) <= side else plan(height, width, side)

    def seen(self, longest: int) -> float | None:
        """Side of the object in the middle when the model sees an image of that longest side as a whole."""
        return None if self.object_side is None else self.object_side * self.image_size / longest

    def _needed(self, longest: int) -> int | None:
        seen = self.seen(longest)
        if self.object_side is None or seen is None or seen >= FEW_PX:
            return None
        return max(LEAST, round(self.object_side * self.image_size / WANTED_PX))


def object_side(truth: Mapping[str, Any]) -> float | None:
    """Side of the object in the middle by size, the root of its box's area, in pixels.

    Args:
        truth: annotations in COCO's format.
    """
    sides = [sqrt(one["bbox"][2] * one["bbox"][3]) for one in truth["annotations"] if not one.get("iscrowd")]
    return median(sides) if sides else None


def plan(height: int, width: int, side: int) -> list[Tile]:
    """Tiles of at most `side` pixels that cover an image, row by row, evenly apart, with `OVERLAP` or more."""
    rows, columns = (_starts(length, side) for length in (height, width))
    return [Tile(top, left, min(side, height), min(side, width)) for top, left in product(rows, columns)]


def _starts(length: int, side: int) -> list[int]:
    if length <= side:
        return [0]
    step = side - round(OVERLAP * side)
    count = 1 + ceil((length - side) / step)
    return [round(number * (length - side) / (count - 1)) for number in range(count)]


def merge_boxes(
    whole: Detections, tiles: Sequence[Tile], found: Sequence[Detections], size: tuple[int, int], *, nms_iou: float,
    most: int,
) -> Detections:  # fmt: skip
    """One set of detections from those of the whole image and of its tiles, best first.

    Args:
        found: of every tile, in its pixels.
        size: height and width of the image.
        nms_iou: of two boxes of a class that overlap by more, the better stays.
        most: D, kept at most.
    """
    parts = [whole, *(_placed(of_tile, tile, size) for tile, of_tile in zip(tiles, found, strict=True))]
    boxes, scores, labels = (
        torch.cat([getattr(part, name) for part in parts]) for name in ("boxes_xyxy_px", "scores", "labels")
    )
    order = scores.argsort(descending=True, stable=True)
    boxes, scores, labels = boxes[order], scores[order], labels[order]
    apart = boxes.double() + (labels.double() * (max(size) + 1))[:, None]
    kept = nms(apart, scores.double(), nms_iou)[:most]
    return Detections(boxes[kept], scores[kept], labels[kept])


def _placed(found: Detections, tile: Tile, size: tuple[int, int]) -> Detections:
    """Detections of a tile in the image's pixels, without those that it cuts."""
    x1, y1, x2, y2 = found.boxes_xyxy_px.unbind(dim=1)
    near = CUT * max(tile.height, tile.width)
    is_cut = torch.zeros_like(x1, dtype=torch.bool)
    if tile.left > 0:
        is_cut |= x1 < near
    if tile.top > 0:
        is_cut |= y1 < near
    if tile.left + tile.width < size[1]:
        is_cut |= x2 > tile.width - near
    if tile.top + tile.height < size[0]:
        is_cut |= y2 > tile.height - near
    shift = found.boxes_xyxy_px.new_tensor([tile.left, tile.top] * 2)
    return Detections(found.boxes_xyxy_px[~is_cut] + shift, found.scores[~is_cut], found.labels[~is_cut])


def merge_masks(tiles: Sequence[Tile], found: Sequence[LabelMask], size: tuple[int, int]) -> LabelMask:
    """The label of every pixel from the tile whose nearest border inside the image is farthest from it; of equal ones
    from the first.
    """
    mask = torch.zeros(size, dtype=torch.uint8)
    best = torch.full(size, -1, dtype=torch.int32)
    for tile, of_tile in zip(tiles, found, strict=True):
        place = slice(tile.top, tile.top + tile.height), slice(tile.left, tile.left + tile.width)
        rows = _inward(tile.height, tile.top > 0, tile.top + tile.height < size[0])
        columns = _inward(tile.width, tile.left > 0, tile.left + tile.width < size[1])
        depth = torch.minimum(rows[:, None], columns[None])
        is_better = depth > best[place]
        best[place] = torch.where(is_better, depth, best[place])
        mask[place] = torch.where(is_better, of_tile.mask, mask[place])
    return LabelMask(mask)


def _inward(length: int, at_start: bool, at_end: bool) -> Tensor:
    """Distance of every pixel of a side from its ends, as far as these lie inside the image."""
    far = torch.full((length,), torch.iinfo(torch.int32).max, dtype=torch.int32)
    here = torch.arange(length, dtype=torch.int32)
    start = here if at_start else far
    return torch.minimum(start, here.flip(0)) if at_end else start
