"""Post-processing: from scores and boxes of every default box to the few detections of an image.

Shapes: N images, A default boxes, K classes, D detections.
"""

from __future__ import annotations

from math import ceil, sqrt
from typing import TYPE_CHECKING

import torch

from heads.ssdlite.config import Clip
from heads.structures import Detections
from heads.suppression import nms

if TYPE_CHECKING:
    from torch import Tensor

REACH = 1000.0
"""Distance from the origin, in images, at which corners are cut that are cut after suppression."""
FIRST_CANDIDATES = 2
"""Candidates of the first round, for each detection wanted."""


def detect(
    scores: Tensor,
    boxes_xyxy_rel: Tensor,
    sizes: Tensor,
    *,
    score_threshold: float,
    nms_iou: float,
    max_detections: int,
    clip: Clip = Clip.before,
    candidates: int | None = None,
) -> list[Detections]:
    """Keep the best `max_detections` (box, class) pairs of every image that class-wise non-maximum suppression leaves.

    Whether a pair survives depends only on better ones. So the best few candidates of all classes together are enough
    as long as `max_detections` of them survive; otherwise the image goes into another round with four times as many.
    The result is the same as with all A x K candidates, without looking at most of them.

    The operator is called once for each image: on a CPU it compares all pairs in turn, so one call for N images would
    cost N times as much.

    Args:
        scores: (N, A, K) in [0, 1]; a box with one that is no number is no detection.
        boxes_xyxy_rel: (N, A, 4), as fractions of the image.
        sizes: (N, 2), height and width of the original images in pixels.
        score_threshold: pairs at or below it are left out.
        nms_iou: of two boxes of a class that overlap by more, the better stays.
        max_detections: D, kept of an image.
        clip: whether boxes are cut at the border before suppression, or after it. Then at most `max_detections` of a
            class are kept, of these those that are within the image, and of these the best.
        candidates: of a class that are looked at, the best; None: all.
    Returns:
        Boxes in pixels of the original images, best first; of equal scores the earlier default box and class first.
    """
    images, pixels = scores.shape[0], sizes[:, [1, 0, 1, 0]]
    late = clip is Clip.after
    boxes = boxes_xyxy_rel.nan_to_num(0.0).clamp(-REACH, REACH).double() if late else boxes_xyxy_rel.clamp(0, 1)
    best_of_box = scores.amax(dim=2).nan_to_num(0.0)
    found: dict[int, Detections] = {}
    looked_at = FIRST_CANDIDATES * max_detections
    while len(found) < images:
        pending = [image for image in range(images) if image not in found]
        floor = candidate_floor(best_of_box[pending], looked_at)
        row, score, label, box = pairs_above(scores, boxes, best_of_box, pending, floor, score_threshold)
        apart = box + by_class(label, scores.shape[2]) * (2 * REACH + 1 if late else 1)
        parts = row.bincount(minlength=len(pending)).tolist()
        complete = (floor <= score_threshold).tolist()
        start = 0
        for image, count, is_complete in zip(pending, parts, complete, strict=True):
            pairs = slice(start, start + count)
            start += count
            best = start - count + score[pairs].argsort(descending=True, stable=True)[:looked_at]
            if candidates is not None:
                best = best[rank_in_class(label[best]) < candidates]
            kept = best[nms(apart[best], score[best].to(apart.dtype), nms_iou)]
            kept = (_within_image(kept, box, label, max_detections) if late else kept)[:max_detections]
            if len(kept) == max_detections or (is_complete and count <= looked_at):
                boxes_xyxy_px = box[kept].clamp(0, 1) * pixels[image]
                found[image] = Detections(boxes_xyxy_px.float(), score[kept].float(), label[kept])
        looked_at *= 4
    return [found[image] for image in range(images)]


def _within_image(kept: Tensor, boxes: Tensor, labels: Tensor, most: int) -> Tensor:
    """Select of pairs (P,), best first, the first `most` of each class, without those showing nothing of the image."""
    same = labels[kept][:, None] == labels[kept]
    corners = boxes[kept].clamp(0, 1)
    seen = (corners[:, 2:] > corners[:, :2]).all(dim=1)
    return kept[(same.tril().sum(dim=1) <= most) & seen]


def rank_in_class(labels: Tensor) -> Tensor:
    """Number of earlier entries of the same class for each of (P,)."""
    order = labels.argsort(stable=True)
    counts = labels.bincount()
    starts = counts.cumsum(0) - counts
    rank = torch.empty_like(labels)
    rank[order] = torch.arange(len(labels), device=labels.device) - starts[labels[order]]
    return rank


def candidate_floor(best_of_box: Tensor, candidates: int) -> Tensor:
    """Lower bound (N,) of the scores of an image's best `candidates` pairs, from the best score of each box (N, A).

    The boxes with the best scores give a pair each at or above the last of these.
    """
    if candidates >= best_of_box.shape[1]:
        return best_of_box.new_zeros(best_of_box.shape[0])
    return best_of_box.topk(candidates, dim=1).values[:, -1]


def pairs_above(
    scores: Tensor, boxes: Tensor, best_of_box: Tensor, images: list[int], floor: Tensor, score_threshold: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Pairs of `images` above the threshold and not below the floor: index into `images`, score, label and box."""
    image = torch.tensor(images, device=scores.device)
    best = best_of_box[image]
    row, box = ((best >= floor[:, None]) & (best > score_threshold)).nonzero(as_tuple=True)
    some = scores[image[row], box]
    pair, label = ((some >= floor[row, None]) & (some > score_threshold)).nonzero(as_tuple=True)
    row, box = row[pair], box[pair]
    return row, some[pair, label], label, boxes[image[row], box]


def by_class(labels: Tensor, classes: int) -> Tensor:
    """Shift (P, 4) for boxes within [0, 1] that keeps those of different classes (P,) from overlapping.

    Classes go to the cells of a square, not into a line: the farther from the origin, the fewer digits are left.
    """
    side = ceil(sqrt(classes))
    return torch.stack([labels % side, labels // side], dim=1).repeat(1, 2)
