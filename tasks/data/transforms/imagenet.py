"""From images with one class to the square that the model sees: uint8 all the way, and none passes through Pillow.

Each transform takes decoded samples and, for speed, encoded ones (see `tasks.data.files.encoded`).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, TypeAlias

import cv2
import numpy as np

from backbone.errors import InputError
from tasks.data.files.encoded import Window
from tasks.data.transforms.config import Interpolation
from tasks.data.transforms.resizing import resize

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tasks.data.files.encoded import EncodedSample
    from tasks.data.sample import Sample
    from tasks.data.transforms.colour import ColourJitter

    Pixels: TypeAlias = NDArray[np.uint8]

TRIALS = 10
"""Draws of a window until one lies in the image."""
MAX_ASPECT = 4
"""An image that is longer than this is cut around its middle first: resized whole, it could fill the memory."""


class RandomCrop:
    """A window of random area and aspect ratio, resized to a square; mirrored and varied in colour by chance.

    The seed that comes with a sample decides everything, in whatever process. An encoded JPEG is decoded at a half, a
    quarter or an eighth of its size where the window is still larger than the square then.

    Args:
        image_size: side of the square in pixels.
        scale: least and largest area of the window, as a share of the image's.
        ratio: least and largest width / height of the window; drawn evenly on a logarithmic scale.
        flip: probability of mirroring left and right.
        jitter: varies the colours; None leaves them.

    Raises:
        InputError: a range or probability is out of its bounds.

    Reference:
        Going Deeper with Convolutions, arXiv:1409.4842, section 6; torchvision's `RandomResizedCrop`.
    """

    def __init__(
        self,
        image_size: int = 224,
        scale: tuple[float, float] = (0.08, 1.0),
        ratio: tuple[float, float] = (3 / 4, 4 / 3),
        flip: float = 0.5,
        jitter: ColourJitter | None = None,
    ) -> None:
        if not 0 < scale[0] <= scale[1] <= 1:
            raise InputError(f"scale={list(scale)}: must be two shares of the area, 0 < least <= largest <= 1")
        if not 0 < ratio[0] <= ratio[1]:
            raise InputError(f"ratio={list(ratio)}: must be two aspect ratios, 0 < least <= largest")
        if not 0 <= flip <= 1:
            raise InputError(f"flip={flip}: must be a probability from 0 to 1")
        self.image_size = image_size
        self.scale = scale
        self.ratio = ratio
        self.flip = flip
        self.jitter = jitter

    def at(self, image_size: int) -> RandomCrop:
        """The same, ending at squares of `image_size` pixels."""
        return RandomCrop(image_size, self.scale, self.ratio, self.flip, self.jitter)

    def __call__(self, sample: Sample, seed: int = 0) -> Sample:
        _check_class_only(sample)
        rng = Random(seed)
        window = draw_window(sample.image.shape, self.scale, self.ratio, rng)
        return replace(sample, image=self._vary(sample.image[window.slices()], rng))

    def from_encoded(self, sample: EncodedSample, seed: int = 0) -> Sample:
        """The same for an image that is not decoded yet."""
        rng = Random(seed)
        window = draw_window(sample.image.size, self.scale, self.ratio, rng)
        return sample.with_pixels(self._vary(sample.image.decode(window, least=self.image_size), rng))

    def _vary(self, part: Pixels, rng: Random) -> Pixels:
        image = resize(part, (self.image_size, self.image_size))
        if rng.random() < self.flip:
            image = cv2.flip(image, 1).astype(np.uint8, copy=False)
        return self.jitter(image, rng) if self.jitter else image


class MiddleCrop(ABC):
    """The middle of an image as a square, the same every time: what evaluation looks at."""

    def __call__(self, sample: Sample, seed: int = 0) -> Sample:
        _check_class_only(sample)
        return replace(sample, image=self.crop(sample.image))

    def from_encoded(self, sample: EncodedSample, seed: int = 0) -> Sample:
        """The same for an image that is not decoded yet. It is decoded whole, so that the pixels are the same."""
        return sample.with_pixels(self.crop(sample.image.decode()))

    @abstractmethod
    def crop(self, image: Pixels) -> Pixels:
        """(H, W, 3) uint8 to the square that the model sees."""


class CentreCrop(MiddleCrop):
    """The shorter side resized to `resize_size`, then the middle square: torchvision's, timm's and Hugging Face's way.

    Args:
        image_size: side of the square in pixels.
        resize_size: of the shorter side before the cut; not below `image_size`.
        interpolation: of the resizing.

    Raises:
        InputError: `resize_size` is smaller than `image_size`.
    """

    def __init__(
        self,
        image_size: int = 224,
        resize_size: int = 256,
        interpolation: Interpolation = Interpolation.bilinear,
    ) -> None:
        if resize_size < image_size:
            raise InputError(f"resize_size={resize_size}: must be at least image_size={image_size}")
        self.image_size = image_size
        self.resize_size = resize_size
        self.interpolation = interpolation

    def crop(self, image: Pixels) -> Pixels:
        image = image[_without_far_ends(image.shape).slices()]
        height, width = image.shape[:2]
        shorter = min(height, width)
        size = (height * self.resize_size // shorter, width * self.resize_size // shorter)
        top, left = (round((side - self.image_size) / 2) for side in size)
        window = Window(top, left, self.image_size, self.image_size)
        return np.ascontiguousarray(resize(image, size, self.interpolation)[window.slices()])


class CentralPart(MiddleCrop):
    """The middle part of the image stretched to a square: the way of TensorFlow's weights.

    Args:
        image_size: side of the square in pixels.
        fraction: of the height and of the width that is kept.
        interpolation: of the resizing.

    Raises:
        InputError: `fraction` is no share.

    Reference:
        TF-slim's `inception_preprocessing.preprocess_for_eval`.
    """

    def __init__(
        self,
        image_size: int = 224,
        fraction: float = 0.875,
        interpolation: Interpolation = Interpolation.point_bilinear,
    ) -> None:
        if not 0 < fraction <= 1:
            raise InputError(f"fraction={fraction}: must be a share of the sides, 0 < fraction <= 1")
        self.image_size = image_size
        self.fraction = fraction
        self.interpolation = interpolation

    def crop(self, image: Pixels) -> Pixels:
        top, left = (int((side - side * self.fraction) / 2) for side in image.shape[:2])
        part = image[top : image.shape[0] - top, left : image.shape[1] - left]
        return resize(part, (self.image_size, self.image_size), self.interpolation)


def draw_window(size: tuple[int, ...], scale: tuple[float, float], ratio: tuple[float, float], rng: Random) -> Window:
    """A part of an image of this height and width.

    Where no trial fits, as in a very long image, the middle as far as `ratio` allows.
    """
    height, width = size[:2]
    logarithms = math.log(ratio[0]), math.log(ratio[1])
    for _ in range(TRIALS):
        area = height * width * rng.uniform(*scale)
        aspect = math.exp(rng.uniform(*logarithms))
        sides = round(math.sqrt(area / aspect)), round(math.sqrt(area * aspect))
        if 0 < sides[0] <= height and 0 < sides[1] <= width:
            top, left = int(rng.random() * (height - sides[0] + 1)), int(rng.random() * (width - sides[1] + 1))
            return Window(top, left, *sides)
    part_height = min(height, max(1, round(width / ratio[0])))
    part_width = min(width, max(1, round(height * ratio[1])))
    return Window((height - part_height) // 2, (width - part_width) // 2, part_height, part_width)


def _without_far_ends(size: tuple[int, ...]) -> Window:
    """Window of as much of the middle as `MAX_ASPECT` allows; both ends lose the same."""
    height, width = size[:2]
    top, left = max(0, height - MAX_ASPECT * width) // 2, max(0, width - MAX_ASPECT * height) // 2
    return Window(top, left, height - 2 * top, width - 2 * left)


def _check_class_only(sample: Sample) -> None:
    if len(sample.labels) or sample.mask is not None:
        raise InputError(
            f"image {sample.image_id} has boxes or a mask, and this transform cuts images with a class only; choose"
            " the transform of detection or segmentation"
        )
