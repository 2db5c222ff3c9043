"""Other rules than SSD's by which default boxes take objects: adaptive thresholds, and alignment with predictions.

Shapes: N images, M objects in the image that has most, T objects in the batch, A default boxes, K classes.
Reference: ATSS, arXiv:1912.02424, algorithm 1; TOOD, arXiv:2108.07755, section 3.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from heads.ssdlite.matcher import (
    FORCED,
    Matches,
    area,
    intersection,
    largest_of_image,
    learnable,
    paired_iou,
    unmatched,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from heads.structures import DetectionTargets

NEAREST = 9
"""Cells of each map that are candidates for an object (ATSS, section 4.4)."""
ALIGNED = 13
"""Default boxes that an object takes at most (TOOD, section 4.1)."""
SCORE_POWER = 1.0
IOU_POWER = 6.0
"""Alignment is score^1 x IoU^6 (TOOD, section 4.1)."""


def match_adaptive(
    targets: DetectionTargets, default_boxes_xyxy: Tensor, boxes: Sequence[int], boxes_per_cell: Sequence[int]
) -> Matches:
    """Match by a threshold of each object: mean and deviation of the IoUs of its candidates together.

    Candidates are the default boxes of the nearest 9 cells of every map. Those at or above the threshold whose centre
    lies in the object take it; of several objects the one with the largest IoU. Differs: an object that would be
    left with none has its best default box.

    Args:
        default_boxes_xyxy: (A, 4), map by map.
        boxes: default boxes of every map, which sum to A.
        boxes_per_cell: of these in one cell of every map.
    """
    if targets.labels.shape[1] == 0:
        return unmatched(targets, default_boxes_xyxy)
    objects = targets.boxes_xyxy_rel[learnable(targets)]
    overlap = _overlap(objects, default_boxes_xyxy)
    apart = torch.cdist(_centres(objects), _centres(default_boxes_xyxy))
    nearest = []
    start = 0
    for count, in_cell in zip(boxes, boxes_per_cell, strict=True):
        of_map = apart[:, start : start + count].topk(min(NEAREST * in_cell, count), dim=1, largest=False).indices
        nearest.append(of_map + start)
        start += count
    candidates = torch.cat(nearest, dim=1)
    of_candidates = overlap.gather(1, candidates)
    threshold = of_candidates.mean(dim=1, keepdim=True) + of_candidates.std(dim=1, keepdim=True)
    chosen = torch.zeros_like(overlap, dtype=torch.bool).scatter_(1, candidates, of_candidates >= threshold)
    values = overlap.masked_fill(~(chosen & _holds_centre(objects, default_boxes_xyxy)), -1.0)
    return largest_of_image(_with_best(values, overlap), targets, default_boxes_xyxy, 0.0)


def match_aligned(
    targets: DetectionTargets, default_boxes_xyxy: Tensor, scores: Tensor, predicted_xyxy_rel: Tensor
) -> Matches:
    """Match by what the network predicts: an object takes the 13 default boxes of the largest alignment.

    Alignment is score x IoU^6 of the predicted box, among default boxes whose centre lies in the object. Of several
    objects a default box takes the one that its predicted box overlaps most. Differs: an object whose area
    holds no centre has the default box that overlaps it most.

    Args:
        scores: (N, A, K).
        predicted_xyxy_rel: (N, A, 4).
    """
    if targets.labels.shape[1] == 0:
        return unmatched(targets, default_boxes_xyxy)
    taken = learnable(targets)
    image, _ = taken.nonzero(as_tuple=True)
    objects, labels = targets.boxes_xyxy_rel[taken], targets.labels[taken]
    overlap = paired_iou(predicted_xyxy_rel[image], objects[:, None])
    of_label = scores.transpose(1, 2)[image, labels]
    alignment = of_label**SCORE_POWER * overlap**IOU_POWER
    inside = _holds_centre(objects, default_boxes_xyxy)
    best = alignment.masked_fill(~inside, -1.0).topk(min(ALIGNED, alignment.shape[1]), dim=1).indices
    chosen = torch.zeros_like(inside).scatter_(1, best, True) & inside
    values = overlap.masked_fill(~chosen, -1.0)
    return largest_of_image(_with_best(values, _overlap(objects, default_boxes_xyxy)), targets, default_boxes_xyxy, 0.0)


def _overlap(objects: Tensor, default_boxes_xyxy: Tensor) -> Tensor:
    """IoU (T, A)."""
    shared = intersection(objects, default_boxes_xyxy)
    return shared / (area(objects)[:, None] + area(default_boxes_xyxy) - shared)


def _centres(boxes_xyxy: Tensor) -> Tensor:
    return (boxes_xyxy[:, :2] + boxes_xyxy[:, 2:]) / 2


def _holds_centre(objects: Tensor, default_boxes_xyxy: Tensor) -> Tensor:
    """Whether (T, A) the centre of a default box lies in an object."""
    centres = _centres(default_boxes_xyxy)
    inside = (centres > objects[:, None, :2]) & (centres < objects[:, None, 2:])
    return inside.all(dim=2)


def _with_best(values: Tensor, overlap: Tensor) -> Tensor:
    """Values (T, A), -1 where a default box is not chosen, in which an object without any has its best default box."""
    largest, best = overlap.max(dim=1, keepdim=True)
    alone = (values < 0).all(dim=1, keepdim=True) & (largest > 0)
    return values.scatter(1, best, torch.where(alone, FORCED + largest, values.gather(1, best)))
