"""How images get to a segmentation model: randomly scaled crops in training, whole images in evaluation.

Scaling, padding and cropping are one window on the image, and only what the window shows is resized.
Reference: DeepLabv3, arXiv:1706.05587, section 4.1 (crop size, data augmentation). Differs: any scale between the two
limits instead of steps of 0.25, and an image smaller than the crop lies anywhere in it instead of in its corner.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from backbone.errors import InputError
from tasks.data.transforms.resizing import resize_by_area
from tasks.data.transforms.ssd import WindowStep, WindowTransform

if TYPE_CHECKING:
    from tasks.data.sample import Sample
    from tasks.data.transforms.ssd import Floats


class ScalingCrops(WindowTransform):
    """Scale at random, pad, crop, flip: ends at `crop_size` x `crop_size` pixels.

    Padding is the mean of the model's input in the image, void in the mask. A crop may be larger than the image.

    Args:
        crop_size: side of the result in pixels.
        scales: smallest and largest factor for the sides of the image.
        flip: probability that the image is mirrored left and right.
        photometric: vary brightness, contrast, hue and saturation.

    Raises:
        InputError: the scales are not two positive numbers in order.
    """

    def __init__(
        self, crop_size: int, *, scales: tuple[float, float] = (0.5, 2.0), flip: float = 0.5, photometric: bool = False
    ) -> None:
        super().__init__(ScaledWindow(crop_size, scales), flip, photometric)


class ScaledWindow(WindowStep):
    """A square part of the scaled image, or all of it and what is around it: along each side, anywhere.

    Args:
        image_size: side of the square in pixels of the scaled image.
        scales: smallest and largest factor for the sides of the image.
    """

    def __init__(self, image_size: int, scales: tuple[float, float]) -> None:
        super().__init__(image_size)
        if len(scales) != 2 or not 0 < scales[0] <= scales[1] < np.inf:
            raise InputError(f"scales={scales}: must be two positive numbers, the smaller one first")
        self.scales = scales

    def choose(self, shape: tuple[int, int], boxes: Floats, rng: np.random.Generator) -> Floats:
        """See `WindowStep.choose`. The boxes do not matter."""
        height, width = shape
        sides = self.image_size / (rng.uniform(*self.scales) * np.array([width, height]))
        room = 1.0 - sides
        corner = rng.uniform(0.0, 1.0, 2) * room
        return np.concatenate([corner, corner + sides])


class WholeImage:
    """The image as it is, or shrunk; the mask stays that of the original, at which segmentation is measured.

    Called like `ScalingCrops`; there is no chance in it. Images keep their shapes, so they make batches of one.

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
