"""How images get to a model in evaluation: as a whole, stretched to a square or in their own shape."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from backbone.errors import InputError
from tasks.data.transforms.config import Interpolation
from tasks.data.transforms.resizing import resize, resize_by_area, resize_mask

if TYPE_CHECKING:
    from tasks.data.sample import Sample

MIN_SIDE_PX = 1.0
"""Boxes that are smaller than this at the model's size are no targets."""


class EvalTransform:
    """Stretch to `image_size` x `image_size` pixels, and nothing else.

    Called like `ssd.TrainTransform`; there is no chance in it, so the seed does not matter.
    """

    def __init__(self, image_size: int, interpolation: Interpolation = Interpolation.area) -> None:
        self.image_size = image_size
        self.interpolation = interpolation

    def __call__(self, sample: Sample, seed: int = 0) -> Sample:
        height, width = sample.image.shape[:2]
        scale = np.array([self.image_size / width, self.image_size / height] * 2, dtype=np.float32)
        boxes = np.clip(sample.boxes_xyxy_px * scale, 0, self.image_size)
        return replace(
            sample,
            image=resize(sample.image, (self.image_size, self.image_size), self.interpolation),
            boxes_xyxy_px=boxes,
            mask=None if sample.mask is None else resize_mask(sample.mask, (self.image_size, self.image_size)),
        )


class StretchedImage(EvalTransform):
    """Stretch as `EvalTransform`, but the mask stays that of the original, at which segmentation is measured."""

    def __call__(self, sample: Sample, seed: int = 0) -> Sample:
        return replace(super().__call__(replace(sample, mask=None)), mask=sample.mask)


class WholeImage:
    """The image as it is, or shrunk; the mask stays that of the original, at which segmentation is measured.

    Called like `deeplab.ScalingCrops`; there is no chance in it. Images keep their shapes, so they make batches of one.

    Args:
        max_side: the longer side in pixels that larger images are shrunk to; None leaves all as they are.

    Raises:
        InputError: `max_side` is below 1.
    """

    def __init__(self, max_side: int | None = None) -> None:
        if max_side is not None and max_side < 1:
            raise InputError(f"max_side={max_side}: must be at least 1 pixel; leave it out to keep images as they are")
        self.max_side = max_side

    def __call__(self, sample: Sample, seed: int = 0) -> Sample:
        height, width = sample.image.shape[:2]
        if self.max_side is None or max(height, width) <= self.max_side:
            return sample
        scale = self.max_side / max(height, width)
        size = max(1, round(height * scale)), max(1, round(width * scale))
        sides = np.array([size[1] / width, size[0] / height] * 2, dtype=np.float32)
        return replace(sample, image=resize_by_area(sample.image, size), boxes_xyxy_px=sample.boxes_xyxy_px * sides)
