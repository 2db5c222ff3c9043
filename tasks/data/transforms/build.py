"""From a transform's configuration to what it does with images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from backbone.errors import InputError
from tasks.data.transforms.colour import ColourJitter
from tasks.data.transforms.config import (
    CENTRAL_SHARE,
    DeepLabTransformConfig,
    ImageNetTransformConfig,
    JointTransformConfig,
    SSDTransformConfig,
    TestCrop,
)
from tasks.data.transforms.growing import GrowingSize
from tasks.data.transforms.imagenet import CentralPart, CentreCrop, RandomCrop
from tasks.data.transforms.mixing import CopyPaste, Mixing
from tasks.data.transforms.whole import EvalTransform, StretchedImage, WholeImage

if TYPE_CHECKING:
    from collections.abc import Callable

    from heads.structures import Batch
    from tasks.data.sample import Transform


class PluggedTransform(Protocol):
    """A transform's configuration from outside, which makes its transforms itself.

    `mixing(seed)` and `sizes()` are looked for too (see the functions below); `same_size` and `image_size` are read.
    """

    def train(self) -> Transform:
        """See `train_transform`."""
        ...

    def evaluation(self) -> Transform:
        """See `evaluation_transform`."""
        ...


def train_transform(config: Any) -> Transform:
    """Transform for training, varied by the seed that comes with every image."""
    own = getattr(config, "train", None)
    if own is not None:
        made: Transform = own()
        return made
    match config:
        case SSDTransformConfig():
            from tasks.data.transforms.ssd import TrainTransform  # albumentations is slow to import

            return TrainTransform(config)
        case ImageNetTransformConfig():
            jitter = ColourJitter() if config.photometric else None
            return RandomCrop(config.image_size, scale=(config.min_area, 1.0), flip=config.flip, jitter=jitter)
        case DeepLabTransformConfig():
            from tasks.data.transforms.deeplab import ScalingCrops

            least, most = config.scales
            return ScalingCrops(
                config.image_size, scales=(least, most), flip=config.flip, photometric=config.photometric
            )
    raise InputError(f"transform: {type(config).__name__} is none of Trident's and has no train()")


def evaluation_transform(config: Any) -> Transform:
    """Transform for evaluation, the same every time."""
    own = getattr(config, "evaluation", None)
    if own is not None:
        made: Transform = own()
        return made
    match config:
        case JointTransformConfig():
            return StretchedImage(config.image_size, config.interpolation)
        case SSDTransformConfig():
            return EvalTransform(config.image_size, config.interpolation)
        case ImageNetTransformConfig(test_crop=TestCrop.central_part):
            return CentralPart(config.image_size, CENTRAL_SHARE, config.interpolation)
        case ImageNetTransformConfig():
            resize_size = config.resize_size or round(config.image_size / CENTRAL_SHARE)
            return CentreCrop(config.image_size, resize_size, config.interpolation)
        case DeepLabTransformConfig():
            limits = [side for side in (config.max_side, config.image_size if config.pad else None) if side is not None]
            return WholeImage(min(limits, default=None))
    raise InputError(f"transform: {type(config).__name__} is none of Trident's and has no evaluation()")


def batch_mixing(config: Any, seed: int) -> Callable[[Batch, int], Batch] | None:
    """What blends the images of a training batch, told the step; None: nothing does."""
    own = getattr(config, "mixing", None)
    if own is not None:
        made: Callable[[Batch, int], Batch] | None = own(seed)
        return made
    if isinstance(config, DeepLabTransformConfig) and config.copy_paste:
        return CopyPaste(config.copy_paste, seed)
    if isinstance(config, ImageNetTransformConfig) and (config.mixup or config.cutmix):
        return Mixing(config.mixup, config.cutmix, seed)
    return None


def growing_size(config: Any) -> GrowingSize | None:
    """How training images grow from step to step; None: they do not. If they do, the transform has `at(image_size)`."""
    own = getattr(config, "sizes", None)
    if own is not None:
        made: GrowingSize | None = own()
        return made
    if isinstance(config, ImageNetTransformConfig) and config.progressive is not None:
        return GrowingSize(config.progressive, config.image_size, config.stages)
    return None
