"""Variation of an image's colours."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import cv2
import numpy as np

if TYPE_CHECKING:
    from random import Random

    from numpy.typing import NDArray

    Pixels: TypeAlias = NDArray[np.uint8]

LEVELS = np.arange(256, dtype=np.float32)


class ColourJitter:
    """Brightness, contrast, saturation and hue, in an order that is drawn too.

    Args:
        brightness, contrast, saturation: each is multiplied by a factor from 1 - x to 1 + x; 0 leaves it.
        hue: the colour circle is turned by up to this share of itself, either way; 0 leaves it.

    Reference:
        torchvision's `ColorJitter`.
    """

    def __init__(
        self, brightness: float = 0.4, contrast: float = 0.4, saturation: float = 0.4, hue: float = 0.1
    ) -> None:
        self.brightness = brightness
        self.contrast = contrast
        self.saturation = saturation
        self.hue = hue

    def __call__(self, image: Pixels, rng: Random) -> Pixels:
        """Vary an image (H, W, 3) uint8 RGB, which stays as it is."""
        factors = (
            (adjust_brightness, 1 + self.brightness * rng.uniform(-1, 1)),
            (adjust_contrast, 1 + self.contrast * rng.uniform(-1, 1)),
            (adjust_saturation, 1 + self.saturation * rng.uniform(-1, 1)),
            (turn_hue, self.hue * rng.uniform(-1, 1)),
        )
        for adjust, amount in sorted(factors, key=lambda _: rng.random()):
            image = adjust(image, amount)
        return image


def adjust_brightness(image: Pixels, factor: float) -> Pixels:
    """Scale towards black, factor 0, or away from it."""
    return _look_up(image, LEVELS * factor)


def adjust_contrast(image: Pixels, factor: float) -> Pixels:
    """Scale towards the mean grey of the image, factor 0, or away from it."""
    if factor == 1:
        return image
    mean = cv2.mean(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))[0]
    return _look_up(image, mean + (LEVELS - mean) * factor)


def adjust_saturation(image: Pixels, factor: float) -> Pixels:
    """Scale towards the grey of every pixel, factor 0, or away from it."""
    if factor == 1:
        return image
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return cv2.addWeighted(image, factor, grey, 1 - factor, 0).astype(np.uint8, copy=False)


def turn_hue(image: Pixels, share: float) -> Pixels:
    """Turn by a share of the colour circle, from -0.5 to 0.5."""
    steps = round(share * 256)
    if steps == 0:
        return image
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV_FULL)
    hsv[..., 0] += np.uint8(steps % 256)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB_FULL).astype(np.uint8, copy=False)


def _look_up(image: Pixels, table: NDArray[np.float32]) -> Pixels:
    levels = np.clip(np.rint(table), 0, 255).astype(np.uint8)
    return cv2.LUT(image, levels).astype(np.uint8, copy=False)
