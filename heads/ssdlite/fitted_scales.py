"""Default boxes that fit the objects of a training set: the scale of each map. Shapes: M objects, A default boxes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from heads.ssdlite.box_coder import to_xyxy
from heads.ssdlite.default_boxes import default_boxes
from heads.ssdlite.matcher import best_overlap

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from heads.ssdlite.config import SSDLiteConfig

SAMPLE = 600
"""Objects that scales are tried on, at most."""
CANDIDATES = (0.03, 0.04, 0.055, 0.07, 0.09, 0.11, 0.14, 0.17, 0.2, 0.24, 0.29, 0.35, 0.42, 0.5, 0.6, 0.7, 0.8, 0.95)
ROUNDS = 3
WORTH = 1e-3
"""A gain in mean IoU below this is none."""


def fitted_scales(
    boxes_xyxy_rel: Tensor, labels: Tensor, cells: Sequence[int], start: Sequence[float], config: SSDLiteConfig
) -> list[float]:
    """Scales of the maps, and the one behind the last, that raise the mean IoU of objects and their best default boxes.

    The mean is over classes, of each over its objects: as mean average precision, which counts a rare class as much.
    One map after the other takes the best of the candidates between its neighbours, until none gains.

    Args:
        boxes_xyxy_rel: (M, 4); without any the scales stay.
        labels: (M,).
        cells: along a side of each map.
        start: where to begin, the one behind the last included.
        config: ratios and other shapes of the boxes.
    """
    if not len(boxes_xyxy_rel):
        return list(start)
    weights = 1.0 / labels.bincount().double()[labels]
    some = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))[:SAMPLE]
    boxes, weights = boxes_xyxy_rel[some], weights[some] / weights[some].sum()

    def value(scale: Sequence[float]) -> float:
        overlap = best_overlap(boxes, to_xyxy(default_boxes(cells, config, scale)))
        return float(overlap.double() @ weights)

    best, reached = list(start), value(start)
    for _ in range(ROUNDS):
        before = reached
        for index in range(len(cells)):
            low, high = best[index - 1] if index else 0.0, best[index + 1]
            for candidate in CANDIDATES:
                if low < candidate < high:
                    tried = [*best[:index], candidate, *best[index + 1 :]]
                    if (gained := value(tried)) > reached + WORTH:
                        best, reached = tried, gained
        if reached <= before + WORTH:
            break
    return best
