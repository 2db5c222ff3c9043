"""How training images get to a segmentation model: as randomly scaled crops.

Scaling, padding and cropping are one window on the image, and only what the window shows is resized.
Reference: DeepLabv3, arXiv:1706.05587, section 4.1 (crop size, data augmentation). Differs: any scale between the two
limits instead of steps of 0.25, and an image smaller than the crop lies anywhere in it instead of in its corner.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from backbone.errors import InputError
from tasks.data.transforms.ssd import WindowStep, WindowTransform

if TYPE_CHECKING:
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
