"""Samples to a batch. Letters: N images, M objects in the image that has most, H W pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from heads.structures import Batch, ClassificationTargets, DetectionTargets, SegmentationTargets, Targets

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
        """Of samples whose images have the same size. Images stay uint8; their memory is channels-last, as read."""
        images = torch.from_numpy(np.stack([sample.image for sample in samples])).permute(0, 3, 1, 2)
        return Batch(
            images=images,
            targets={name: TARGETS[kind](samples) for name, kind in self.kinds.items()},
            sizes=torch.tensor([sample.size for sample in samples], dtype=torch.int64),
            image_ids=torch.tensor([sample.image_id for sample in samples], dtype=torch.int64),
        )


def _classification_targets(samples: Sequence[Sample]) -> ClassificationTargets:
    labels = torch.tensor([sample.class_index for sample in samples], dtype=torch.int64)
    return ClassificationTargets(labels)


def _segmentation_targets(samples: Sequence[Sample]) -> SegmentationTargets:
    masks = [sample.mask for sample in samples if sample.mask is not None]
    return SegmentationTargets(torch.from_numpy(np.stack(masks)))


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
