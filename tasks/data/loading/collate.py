"""Samples to a batch. Shapes: N images, M objects in the image that has most, H W pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from heads.structures import VOID, Batch, ClassificationTargets, DetectionTargets, SegmentationTargets, Targets

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tasks.data.sample import Sample


class Collate:
    """Samples to a batch that holds what every head is taught.

    Args:
        kinds: by the head's name, what it learns: "classification", "detection" or "segmentation".
    """

    def __init__(self, kinds: Mapping[str, str]) -> None:
        self.kinds = dict(kinds)

    def __call__(self, samples: Sequence[Sample]) -> Batch:
        """Batch of samples whose images have one size. Images stay uint8; their memory is channels-last, as read."""
        images = torch.from_numpy(np.stack([sample.image for sample in samples])).permute(0, 3, 1, 2)
        targets: dict[str, Targets] = {}
        rows: dict[str, torch.Tensor] = {}
        for name, kind in self.kinds.items():
            labelled = [row for row, sample in enumerate(samples) if _is_labelled(sample, name, kind)]
            if len(labelled) < len(samples):
                rows[name] = torch.tensor(labelled, dtype=torch.int64)
            if labelled:
                targets[name] = TARGETS[kind]([samples[row] for row in labelled])
        return Batch(
            images=images,
            targets=targets,
            sizes=torch.tensor([sample.size for sample in samples], dtype=torch.int64),
            image_ids=torch.tensor([sample.image_id for sample in samples], dtype=torch.int64),
            rows=rows,
        )


def _is_labelled(sample: Sample, head: str, kind: str) -> bool:
    """Whether an image has labels for a head. No object is a label too."""
    if sample.known is not None and head not in sample.known:
        return False
    return not (
        (kind == "classification" and sample.class_index is None) or (kind == "segmentation" and sample.mask is None)
    )


def _classification_targets(samples: Sequence[Sample]) -> ClassificationTargets:
    labels = torch.tensor([sample.class_index for sample in samples], dtype=torch.int64)
    return ClassificationTargets(labels)


def _segmentation_targets(samples: Sequence[Sample]) -> SegmentationTargets:
    """Masks of several sizes, which evaluation has, are filled up with void at the bottom and the right."""
    masks = [sample.mask for sample in samples if sample.mask is not None]
    height, width = (max(mask.shape[axis] for mask in masks) for axis in (0, 1))
    filled = np.full((len(masks), height, width), VOID, dtype=np.uint8)
    for row, mask in zip(filled, masks, strict=True):
        row[: mask.shape[0], : mask.shape[1]] = mask
    return SegmentationTargets(torch.from_numpy(filled))


def _detection_targets(samples: Sequence[Sample]) -> DetectionTargets:
    shape = len(samples), max(len(sample.labels) for sample in samples)
    boxes = np.zeros((*shape, 4), dtype=np.float32)
    labels = np.full(shape, -1, dtype=np.int64)
    crowd = np.zeros(shape, dtype=np.bool_)
    for row, sample in enumerate(samples):
        count = len(sample.labels)
        height, width = sample.image.shape[:2]
        boxes[row, :count] = sample.boxes_xyxy_px / np.array([width, height, width, height], dtype=np.float32)
        labels[row, :count] = sample.labels
        crowd[row, :count] = sample.crowd
    return DetectionTargets(torch.from_numpy(boxes), torch.from_numpy(labels), torch.from_numpy(crowd))


TARGETS: dict[str, Callable[[Sequence[Sample]], Targets]] = {
    "classification": _classification_targets,
    "detection": _detection_targets,
    "segmentation": _segmentation_targets,
}
