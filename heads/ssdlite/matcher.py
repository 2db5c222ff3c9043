"""Which default box learns which object, for a whole batch at once.

Letters: N images, M objects in the image that has most, A default boxes.
Reference: SSD, arXiv:1512.02325, section 2.2 "Matching strategy".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

if TYPE_CHECKING:
    from torch import Tensor

    from heads.structures import DetectionTargets

FORCED = 2.0
"""Added to the overlap of an object and its best default box: more than any real overlap."""
CROWD_COVER = 0.5
"""A default box that lies in a crowd region by this share of its area is no negative."""


class Matches(NamedTuple):
    """What each default box learns.

    Attributes:
        objects: (N, A) int64, index of the object among the image's M; 0 where there is none.
        positive: (N, A) bool, learns that object.
        ignored: (N, A) bool, learns nothing: it lies in a crowd region.
    """

    objects: Tensor
    positive: Tensor
    ignored: Tensor


def match(targets: DetectionTargets, default_boxes_xyxy: Tensor, matched_iou: float) -> Matches:
    """Match default boxes (A, 4) to the objects of a batch.

    A default box takes the object that it overlaps most, if by `matched_iou` or more. The best default box of every
    object is forced to take it, however little they overlap; where two objects force the same one, the larger overlap
    wins.
    """
    images, objects = targets.labels.shape
    if objects == 0:
        empty = torch.zeros(images, len(default_boxes_xyxy), dtype=torch.bool, device=targets.labels.device)
        return Matches(empty.long(), empty, empty)
    learnable = (targets.labels >= 0) & ~targets.crowd
    shared = intersection(targets.boxes_xyxy_rel, default_boxes_xyxy)  # N, M, A
    object_area, default_area = area(targets.boxes_xyxy_rel), area(default_boxes_xyxy)

    overlap = shared / (object_area[:, :, None] + default_area - shared)
    overlap = overlap.masked_fill(~learnable[:, :, None], -1.0)
    best, best_default_box = overlap.max(dim=2, keepdim=True)  # N, M, 1
    overlap.scatter_add_(2, best_default_box, FORCED * (best > 0))
    value, index = overlap.max(dim=1)  # N, A
    positive = value >= matched_iou

    covered = (shared / default_area).masked_fill(~targets.crowd[:, :, None], 0.0).amax(dim=1)
    return Matches(index, positive, (covered >= CROWD_COVER) & ~positive)


def intersection(boxes_xyxy: Tensor, others_xyxy: Tensor) -> Tensor:
    """Shared area (N, M, A) of boxes (N, M, 4) with others (A, 4)."""
    low = torch.maximum(boxes_xyxy[:, :, None, :2], others_xyxy[:, :2])
    high = torch.minimum(boxes_xyxy[:, :, None, 2:], others_xyxy[:, 2:])
    return (high - low).clamp_(min=0).prod(dim=-1)


def area(boxes_xyxy: Tensor) -> Tensor:
    """Of boxes (..., 4)."""
    return (boxes_xyxy[..., 2:] - boxes_xyxy[..., :2]).prod(dim=-1)
