"""Matching of default boxes to objects, for a whole batch at once.

Shapes: N images, M objects in the image that has most, T objects in the batch, A default boxes.
Reference: SSD, arXiv:1512.02325, section 2.2 "Matching strategy".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

if TYPE_CHECKING:
    from torch import Tensor

    from heads.structures import DetectionTargets

FORCED = 2.0
"""Bonus for the overlap of an object and its best default box: more than any real overlap."""
CROWD_COVER = 0.5
"""Share of its area in a crowd region from which on a default box is no negative."""


class Matches(NamedTuple):
    """Object of each default box.

    Attributes:
        objects: (N, A) int64, index of the object among the image's M; 0 where there is none.
        positive: (N, A) bool, is matched to that object.
        ignored: (N, A) bool, lies in a crowd region and is neither positive nor negative.
    """

    objects: Tensor
    positive: Tensor
    ignored: Tensor


def match(targets: DetectionTargets, default_boxes_xyxy: Tensor, match_iou: float) -> Matches:
    """Match default boxes (A, 4) to the objects of a batch.

    A default box takes the object that it overlaps most, if by `match_iou` or more. The best default box of every
    object is forced to take it, however little they overlap; where two objects force the same one, the larger overlap
    wins.
    """
    if targets.labels.shape[1] == 0:
        return unmatched(targets, default_boxes_xyxy)
    boxes = targets.boxes_xyxy_rel[learnable(targets)]  # T, 4: without padding, of all images
    shared = intersection(boxes, default_boxes_xyxy)
    overlap = shared.div_(area(boxes)[:, None] + area(default_boxes_xyxy) - shared)
    best, best_default_box = overlap.max(dim=1, keepdim=True)
    overlap.scatter_add_(1, best_default_box, FORCED * (best > 0))
    return largest_of_image(overlap, targets, default_boxes_xyxy, match_iou)


def learnable(targets: DetectionTargets) -> Tensor:
    """Whether (N, M) is an object, and not padding or a crowd."""
    return (targets.labels >= 0) & ~targets.crowd


def unmatched(targets: DetectionTargets, default_boxes_xyxy: Tensor) -> Matches:
    """Matches of a batch without objects."""
    empty = torch.zeros(len(targets.labels), len(default_boxes_xyxy), dtype=torch.bool, device=targets.labels.device)
    return Matches(empty.long(), empty, empty)


def largest_of_image(values: Tensor, targets: DetectionTargets, default_boxes_xyxy: Tensor, least: float) -> Matches:
    """Give each default box the object of its image with the largest of `values` (T, A), if that is `least` or more."""
    taken = learnable(targets)
    value = values.new_full((len(taken), len(default_boxes_xyxy)), -1.0)
    index = torch.zeros_like(value, dtype=torch.int64)
    row_of, of_image = taken.nonzero()[:, 1], taken.sum(dim=1).tolist()
    for image, (rows, numbers) in enumerate(
        zip(torch.split(values, of_image), torch.split(row_of, of_image), strict=True)
    ):
        if len(rows):
            value[image], largest = rows.max(dim=0)
            index[image] = numbers[largest]
    positive = value >= least

    crowd_image, _ = targets.crowd.nonzero(as_tuple=True)
    shared = intersection(targets.boxes_xyxy_rel[targets.crowd], default_boxes_xyxy)
    crowded = shared >= CROWD_COVER * area(default_boxes_xyxy)
    covered = torch.zeros_like(index).index_add_(0, crowd_image, crowded.long()) > 0
    return Matches(index, positive, covered & ~positive)


def intersection(boxes_xyxy: Tensor, others_xyxy: Tensor) -> Tensor:
    """Shared area (T, A) of boxes (T, 4) with others (A, 4)."""
    x1, y1, x2, y2 = boxes_xyxy[:, :, None].unbind(1)
    other_x1, other_y1, other_x2, other_y2 = others_xyxy.unbind(1)
    width = torch.minimum(x2, other_x2).sub_(torch.maximum(x1, other_x1)).clamp_(min=0)
    height = torch.minimum(y2, other_y2).sub_(torch.maximum(y1, other_y1)).clamp_(min=0)
    return width.mul_(height)


def area(boxes_xyxy: Tensor) -> Tensor:
    """Area (...) of boxes (..., 4)."""
    return (boxes_xyxy[..., 2:] - boxes_xyxy[..., :2]).prod(dim=-1)


def best_overlap(boxes_xyxy: Tensor, default_boxes_xyxy: Tensor) -> Tensor:
    """Largest IoU (M,) of each box (M, 4) with any default box (A, 4)."""
    best = []
    for part in torch.split(boxes_xyxy, 500):
        shared = intersection(part, default_boxes_xyxy)
        best.append((shared / (area(part)[:, None] + area(default_boxes_xyxy) - shared)).amax(dim=1))
    return torch.cat(best)


def paired_iou(boxes_xyxy: Tensor, others_xyxy: Tensor) -> Tensor:
    """IoU (...) of boxes (..., 4) each with its own of others (..., 4); boxes without an area have none."""
    low = torch.maximum(boxes_xyxy[..., :2], others_xyxy[..., :2])
    high = torch.minimum(boxes_xyxy[..., 2:], others_xyxy[..., 2:])
    shared = (high - low).clamp(min=0).prod(dim=-1)
    joined = area(boxes_xyxy) + area(others_xyxy) - shared
    return shared / joined.clamp(min=torch.finfo(joined.dtype).tiny)
