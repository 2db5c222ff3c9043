"""From scores and boxes of every default box to the few detections of an image.

Letters: N images, A default boxes, K classes, D detections.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torchvision.ops import nms

from heads.structures import Detections

if TYPE_CHECKING:
    from torch import Tensor

FIRST_CANDIDATES = 4
"""Candidates of the first round, for each detection wanted."""


def detect(
    scores: Tensor, boxes_xyxy_rel: Tensor, *, score_threshold: float, nms_iou: float, detections: int
) -> list[Detections]:
    """The best `detections` (box, class) pairs of every image that non-maximum suppression within each class leaves.

    Whether a pair survives depends only on better ones. So the best few candidates of all classes together are enough
    as long as `detections` of them survive; otherwise the image goes into another round with four times as many. The
    answer is the same as with all A x K candidates, without looking at most of them.

    The operator is called once for each image: on a CPU it compares all pairs in turn, so one call for N images would
    cost N times as much.

    Args:
        scores: (N, A, K) in [0, 1].
        boxes_xyxy_rel: (N, A, 4), as fractions of the image.
        score_threshold: pairs at or below it are left out.
        nms_iou: of two boxes of a class that overlap by more, the better stays.
        detections: D, kept of an image.
    Returns:
        Boxes as fractions of the image, best first.
    """
    images, _, classes = scores.shape
    flat_scores, boxes = scores.flatten(1), boxes_xyxy_rel.clamp(0, 1)
    found: dict[int, Detections] = {}
    candidates = FIRST_CANDIDATES * detections
    while len(found) < images:
        pending = [image for image in range(images) if image not in found]
        candidates = min(candidates, flat_scores.shape[1])
        best, index = (flat_scores if not found else flat_scores[pending]).topk(candidates, dim=1)
        above = (best > score_threshold).sum(dim=1).tolist()
        for row, image in enumerate(pending):
            score, pair = best[row, : above[row]], index[row, : above[row]]
            label = pair % classes
            box = boxes[image, pair // classes]
            kept = nms(box + 2 * label[:, None], score, nms_iou)[:detections]  # apart by class: boxes are within [0, 1]
            if len(kept) == detections or above[row] < candidates or candidates == flat_scores.shape[1]:
                found[image] = Detections(box[kept], score[kept], label[kept])
        candidates *= 4
    return [found[image] for image in range(images)]


def to_pixels(detections: list[Detections], sizes: Tensor) -> list[Detections]:
    """Scale boxes from fractions to pixels of images of `sizes` (N, 2): height, width."""
    scale = sizes[:, [1, 0, 1, 0]]
    return [
        Detections((d.boxes_xyxy_px * image_scale).to(torch.float32), d.scores.to(torch.float32), d.labels)
        for d, image_scale in zip(detections, scale, strict=True)
    ]
