"""Samples to a batch. Letters: N images, M objects in the image that has most, H W pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from heads.structures import Batch, DetectionTargets

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tasks.data.sample import Sample


def collate(samples: Sequence[Sample]) -> Batch:
    """A batch of samples whose images have the same size.

    The images stay uint8; their memory is channels-last, as they were read.
    """
    images = torch.from_numpy(np.stack([sample.image for sample in samples])).permute(0, 3, 1, 2)
    return Batch(
        images=images,
        targets={"detection": _detection_targets(samples)},
        sizes=torch.tensor([sample.size for sample in samples], dtype=torch.int64),
        image_ids=torch.tensor([sample.image_id for sample in samples], dtype=torch.int64),
    )


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
