"""How images get to the model, in training and in evaluation. Imports nothing heavy."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import Enum
from typing import ClassVar

from backbone.errors import InputError

MIN_IMAGE_SIZE = 32
MAX_IMAGE_SIZE = 8192


class Interpolation(Enum):
    """How pixels between pixels are computed.

    `bilinear` and `bicubic` take in more pixels when they shrink, as Pillow does; `point_bilinear` looks at the nearest
    four, as TensorFlow 2 does; `float_bilinear` too, and rounds nothing, as torchvision's detectors; `legacy_bilinear`
    as that, without an offset of half a pixel, as TensorFlow 1; `area` averages where it shrinks to less than half,
    else looks at the nearest four.
    """

    bilinear = "bilinear"
    bicubic = "bicubic"
    point_bilinear = "point_bilinear"
    float_bilinear = "float_bilinear"
    legacy_bilinear = "legacy_bilinear"
    area = "area"

    @property
    def rounds(self) -> bool:
        """Whether resized images have whole numbers as pixels."""
        return self not in (Interpolation.float_bilinear, Interpolation.legacy_bilinear)


@dataclass(kw_only=True, slots=True)
class TransformConfig:
    """What every way of getting images to the model has; `tasks.data.transforms.build` makes it. One from outside has
    `train` and `evaluation` (see `PluggedTransform` there).
    """

    image_size: int = 224
    """Side in pixels of the square that the model is trained on."""
    flip: float = 0.5
    """Probability that a training image is mirrored left and right."""
    photometric: bool = True
    """Vary brightness, contrast, hue and saturation of training images."""

    same_size: ClassVar[bool] = True
    """Whether evaluated images come out in one size; else they are evaluated one by one."""

    def __post_init__(self) -> None:
        if self.image_size < MIN_IMAGE_SIZE:
            raise InputError(f"transform.image_size={self.image_size}: must be at least {MIN_IMAGE_SIZE}")
        if self.image_size > MAX_IMAGE_SIZE:
            raise InputError(f"transform.image_size={self.image_size}: must be at most {MAX_IMAGE_SIZE}")
        self._check_probabilities("flip")

    def _check_probabilities(self, *names: str) -> None:
        for name in names:
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"transform.{name}={getattr(self, name)}: must be a probability from 0 to 1")


@dataclass(kw_only=True, slots=True)
class SSDTransformConfig(TransformConfig):
    """SSD's augmentation; images are stretched to the square."""

    image_size: int = 320
    zoom_out: float = 0.5
    """Probability of a grey canvas with up to four times longer sides around an image."""
    crop: float = 0.85
    """Probability of a part that keeps one object with an IoU of at least 0.1, 0.3, 0.5, 0.7 or 0.9, or any part."""
    interpolation: Interpolation = Interpolation.area
    """How evaluated images are resized."""

    def __post_init__(self) -> None:
        TransformConfig.__post_init__(self)
        self._check_probabilities("zoom_out", "crop")


@dataclass(kw_only=True, slots=True)
class JointTransformConfig(SSDTransformConfig):
    """One window on image, boxes and mask together, for heads of every kind; images are stretched to the square.

    A mask is evaluated at the size of its image, boxes in the pixels of theirs.
    """

    image_size: int = 321
    crop: float = 0.5


class TestCrop(Enum):
    """What of an image is looked at in evaluation.

    `centre_crop` resizes the shorter side and cuts the middle square (torchvision, timm, Hugging Face); `central_part`
    stretches the middle 87.5 % of both sides to the square (TensorFlow).
    """

    centre_crop = "centre_crop"
    central_part = "central_part"


CENTRAL_SHARE = 0.875
"""Share of the resized image's side, 224 of 256, in every published evaluation but where a source says otherwise."""


@dataclass(kw_only=True, slots=True)
class ImageNetTransformConfig(TransformConfig):
    """Random parts of images for training, the middle for evaluation, at which any size may be asked for."""

    photometric: bool = False
    min_area: float = 0.08
    """Smallest share of an image's area that a training crop shows."""
    mixup: float = 0.0
    """Parameter of the Beta distribution by which two images of a batch are blended; 0: never."""
    cutmix: float = 0.0
    """The same for pasting a part of one image into another; with both, each batch draws one of them."""
    progressive: int | None = None
    """Side in pixels of training images in the first of `stages`, a multiple of 32; they grow to `image_size` in the
    last. Trains faster. null: they are of `image_size` throughout."""
    stages: int = 4
    """Number of stages of equal length, with `progressive`."""
    test_crop: TestCrop = TestCrop.centre_crop
    resize_size: int | None = None
    """Length of the shorter side before the middle is cut, in pixels; null: `image_size` / 0.875."""
    interpolation: Interpolation = Interpolation.bilinear

    def __post_init__(self) -> None:
        TransformConfig.__post_init__(self)
        if not 0 < self.min_area <= 1:
            raise InputError(f"transform.min_area={self.min_area}: must be above 0 and at most 1")
        for name in ("mixup", "cutmix"):
            if not getattr(self, name) >= 0:
                raise InputError(f"transform.{name}={getattr(self, name)}: must not be negative")
        if self.progressive is not None and not (
            MIN_IMAGE_SIZE <= self.progressive < self.image_size and self.progressive % MIN_IMAGE_SIZE == 0
        ):
            raise InputError(
                f"transform.progressive={self.progressive}: must be a multiple of {MIN_IMAGE_SIZE} below"
                f" transform.image_size={self.image_size}, or null for one size throughout"
            )
        if self.stages < 2:
            raise InputError(f"transform.stages={self.stages}: must be at least 2")
        if self.resize_size is not None and self.resize_size < self.image_size:
            raise InputError(
                f"transform.resize_size={self.resize_size}: must be at least transform.image_size={self.image_size}"
            )


@dataclass(kw_only=True, slots=True)
class DeepLabTransformConfig(TransformConfig):
    """Randomly scaled crops for training, whole images at their own size for evaluation."""

    image_size: int = 513
    """Side in pixels of a training crop."""
    photometric: bool = False
    scales: list[float] = field(default_factory=lambda: [0.5, 2.0])
    """Smallest and largest factor for the sides of a training image."""
    copy_paste: float = 0.0
    """Probability that objects of another training image are pasted onto one, as its mask outlines them."""
    max_side: int | None = None
    """Longer side in pixels that larger images are shrunk to in evaluation, answers not; null: none are."""
    pad: bool = False
    """In evaluation, fill images up to `image_size` with grey, below and on the right, and shrink larger ones to it, as
    DeepLab's authors do: what is pooled over the whole image is then what it was in training."""

    same_size: ClassVar[bool] = False

    def __post_init__(self) -> None:
        TransformConfig.__post_init__(self)
        self._check_probabilities("copy_paste")
        if len(self.scales) != 2 or not 0 < self.scales[0] <= self.scales[1] < math.inf:
            raise InputError(f"transform.scales={list(self.scales)}: must be two positive numbers, the smaller first")
        if self.max_side is not None and self.max_side < MIN_IMAGE_SIZE:
            raise InputError(f"transform.max_side={self.max_side}: must be at least {MIN_IMAGE_SIZE}")
