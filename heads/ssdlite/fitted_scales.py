"""Default boxes that fit the objects of a training set: the scale of each map. Shapes: M objects."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from heads.ssdlite.default_boxes import box_shapes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from heads.ssdlite.config import SSDLiteConfig

SAMPLE = 4000
"""Objects that scales are tried on, at most."""
CANDIDATES = (0.03, 0.04, 0.055, 0.07, 0.09, 0.11, 0.14, 0.17, 0.2, 0.24, 0.29, 0.35, 0.42, 0.5, 0.6, 0.7, 0.8, 0.95)
STARTS = 3
"""Beginnings besides the paper's."""
ROUNDS = 10
WORTH = 1e-3
"""A gain in mean IoU below this is none."""


def fitted_scales(
    boxes_xyxy_rel: Tensor, labels: Tensor, cells: Sequence[int], start: Sequence[float], config: SSDLiteConfig
) -> list[float]:
    """Scales of the maps, and the one behind the last, that raise the mean IoU of objects and their best default boxes.

    The mean is over classes, of each over its objects: as mean average precision, which counts a rare class as much.
    Each map, and each two neighbouring ones, take the best of the candidates between their neighbours, until none
    gains: from `start`, and from the best of evenly spaced logarithms, as one beginning alone often leads nowhere.

    Args:
        boxes_xyxy_rel: (M, 4); without any the scales stay.
        labels: (M,).
        cells: along a side of each map.
        start: where to begin, the one behind the last included.
        config: ratios and other shapes of the boxes.
    """
    if not len(boxes_xyxy_rel):
        return list(start)
    some = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))[:SAMPLE]
    boxes, weights = boxes_xyxy_rel[some].double(), 1.0 / labels.bincount().double()[labels[some]]
    weights /= weights.sum()
    known: dict[tuple[int, tuple[tuple[float, float], ...]], Tensor] = {}

    def overlap(index: int, shapes: tuple[tuple[float, float], ...]) -> Tensor:
        """(M,) with the best default box of one map."""
        if (index, shapes) not in known:
            known[index, shapes] = _best_overlap(boxes, cells[index], shapes)
        return known[index, shapes]

    def value(scale: Sequence[float]) -> float:
        maps = [overlap(index, tuple(shapes)) for index, shapes in enumerate(box_shapes(len(cells), config, scale))]
        return float(torch.stack(maps).amax(dim=0) @ weights)

    best = [round(scale, 6) for scale in start]  # in float32 they would be just beside candidates
    reached = value(best)
    for begin in [best, *sorted(_geometric(best), key=value)[-STARTS:]]:
        found = _ascended(begin, value)
        if (gained := value(found)) > reached + WORTH:
            best, reached = found, gained
    return best


def _geometric(start: Sequence[float]) -> list[list[float]]:
    """Scales whose logarithms are evenly spaced between any two candidates; the one behind the last is as it is."""
    maps = len(start) - 1
    ends = [(low, high) for low in CANDIDATES for high in CANDIDATES if low < high < start[-1]]
    return [[*(low * (high / low) ** (k / max(maps - 1, 1)) for k in range(maps)), start[-1]] for low, high in ends]


def _ascended(best: list[float], value: Callable[[Sequence[float]], float]) -> list[float]:
    """Scales from which no change of one map, or of two neighbouring ones, gains."""
    reached = value(best)
    for _ in range(ROUNDS):
        before = reached
        for index in range(len(best) - 1):
            for tried in _changed(best, index):
                if (gained := value(tried)) > reached + WORTH:
                    best, reached = tried, gained
        if reached <= before + WORTH:
            break
    return best


def _changed(scale: list[float], index: int) -> list[list[float]]:
    """Rising scales with other candidates for one map, and for it and the next; the one behind the last stays."""
    low = scale[index - 1] if index else 0.0
    first = [candidate for candidate in CANDIDATES if low < candidate < scale[-1]]
    one = [[*scale[:index], a, *scale[index + 1 :]] for a in first if a < scale[index + 1]]
    if index + 2 == len(scale):
        return one
    pairs = [(a, b) for a in first for b in CANDIDATES if a < b < scale[index + 2]]
    return [*one, *([*scale[:index], a, b, *scale[index + 2 :]] for a, b in pairs)]


def _best_overlap(boxes_xyxy: Tensor, cells: int, shapes: Sequence[tuple[float, float]]) -> Tensor:
    """Largest IoU (M,) of each box with those of any cell of a map: that is the cell in which its centre lies."""
    low, high = boxes_xyxy[:, None, :2], boxes_xyxy[:, None, 2:]
    centre = (((low + high) / 2 * cells).floor().clamp(0, cells - 1) + 0.5) / cells
    half = torch.tensor(shapes, dtype=boxes_xyxy.dtype) / 2
    shared = (torch.minimum(high, centre + half) - torch.maximum(low, centre - half)).clamp(min=0).prod(dim=2)
    joined = (high - low).prod(dim=2) + (2 * half).prod(dim=1) - shared
    return (shared / joined).amax(dim=1)
