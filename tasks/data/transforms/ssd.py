"""SSD's training images: from a data set's to the square that the model sees. Only here albumentations is known.

Zoom-out and crop are one window on the image, and the window is resized once: a canvas of sixteen times the pixels is
never made. Everything stays uint8.

Reference: SSD, arXiv:1512.02325, section 2.2 and its data augmentation. Differs: the photometric part comes last, on
the small image, where it costs least, and so tints the fill too; an image without objects may be cropped anywhere.
"""

from __future__ import annotations

import os
from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
import albumentations as A
from albumentations.core.type_definitions import Targets

from tasks.data.transforms.resizing import resize_by_area, resize_mask
from tasks.data.transforms.whole import MIN_SIDE_PX

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tasks.data.sample import Sample
    from tasks.data.transforms.config import SSDTransformConfig

    Pixels: TypeAlias = NDArray[np.uint8]
    Floats: TypeAlias = NDArray[np.floating[Any]]

FILL = 128
"""Around a zoomed-out image: 127.5, the mean of the model's input, as uint8."""
MASK_FILL = 255
MAX_ZOOM_OUT = 4.0
MIN_IOUS = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9)
CROP_SIDE = (0.3, 1.0)
CROP_ASPECT = (0.5, 2.0)
CROP_TRIALS = 50
STEP_SEED = 0x9E3779B97F4A7C15
"""Steps that start from the same seed would decide alike: flipped images would always be those of changed hue."""
WHOLE = np.array([0.0, 0.0, 1.0, 1.0])
"""The window that is just the image. Windows and boxes here are xyxy, as fractions of the image."""


class WindowTransform:
    """A random window on the image, then perhaps a flip and other colours.

    Args:
        window: chooses it; its `image_size` is that of the result.
        flip: probability that the image is mirrored left and right.
        photometric: vary brightness, contrast, hue and saturation.

    Attributes:
        dropped: boxes left out so far because they were smaller than a pixel afterwards.
    """

    def __init__(self, window: WindowStep, flip: float, photometric: bool) -> None:
        self.image_size = window.image_size
        self.dropped = 0
        steps: list[Any] = [window]
        if flip > 0:
            steps.append(A.HorizontalFlip(p=flip))
        if photometric:
            steps.append(A.RandomBrightnessContrast(brightness_limit=0.125, contrast_limit=0.4, p=0.5))
            steps.append(A.HueSaturationValue(hue_shift_limit=9, sat_shift_limit=40, val_shift_limit=0, p=0.5))
        boxes = A.BboxParams(
            "pascal_voc", label_fields=["rows"], clip=True, filter_invalid_bboxes=True, check_each_transform=False
        )
        self._compose = A.Compose(steps, bbox_params=boxes)

    def __call__(self, sample: Sample, seed: int) -> Sample:
        """The same sample and seed give the same result, in whatever process."""
        for number, step in enumerate(self._compose.transforms):
            step.set_random_seed(seed ^ number * STEP_SEED)
        masks = {} if sample.mask is None else {"mask": sample.mask}
        rows = np.arange(len(sample.labels))
        result = self._compose(image=sample.image, bboxes=sample.boxes_xyxy_px, rows=rows, **masks)
        boxes = np.asarray(result["bboxes"], dtype=np.float32).reshape(-1, 4)
        kept = np.asarray(result["rows"], dtype=np.int64)
        large = (boxes[:, 2:] - boxes[:, :2] >= MIN_SIDE_PX).all(axis=1)
        self.dropped += int((~large).sum())
        kept = kept[large]
        return replace(
            sample,
            image=result["image"],
            boxes_xyxy_px=boxes[large],
            labels=sample.labels[kept],
            crowd=sample.crowd[kept],
            mask=result.get("mask"),
        )


class TrainTransform(WindowTransform):
    """SSD's augmentation, ending at `image_size` x `image_size` pixels."""

    def __init__(self, config: SSDTransformConfig) -> None:
        window = RandomWindow(config.image_size, config.zoom_out, config.crop)
        super().__init__(window, config.flip, config.photometric)


class WindowStep(A.DualTransform):  # type: ignore[misc]
    """A window on the image, resized to a square of `image_size` pixels.

    What lies beyond the image is `FILL`, in the mask `MASK_FILL`. Boxes whose centre the window leaves out are dropped,
    the others are clipped to it.
    """

    _targets = (Targets.IMAGE, Targets.MASK, Targets.BBOXES)

    def __init__(self, image_size: int) -> None:
        super().__init__(p=1.0)
        self.image_size = image_size

    @abstractmethod
    def choose(self, shape: tuple[int, int], boxes: Floats, rng: np.random.Generator) -> Floats:
        """(4,) the window, xyxy as fractions of the image.

        Args:
            shape: height and width of the image in pixels.
            boxes: (M, 4) xyxy as fractions of it.
        """

    @property
    def targets_as_params(self) -> list[str]:
        return ["bboxes"]

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        boxes = np.asarray(data.get("bboxes", ()), dtype=np.float64).reshape(-1, 5)[:, :4]
        shape = params["shape"][:2]
        return {"view": View.on(self.choose(shape, boxes, self.random_generator), shape, self.image_size)}

    def apply(self, img: Pixels, view: View, **_: Any) -> Pixels:
        part = resize_by_area(img[view.source], view.target_size)
        if view.target_size == (self.image_size, self.image_size):
            return part
        canvas = np.full((self.image_size, self.image_size, 3), FILL, dtype=np.uint8)
        canvas[view.target] = part
        return canvas

    def apply_to_mask(self, mask: Pixels, view: View, **_: Any) -> Pixels:
        canvas = np.full((self.image_size, self.image_size), MASK_FILL, dtype=np.uint8)
        canvas[view.target] = resize_mask(mask[view.source], view.target_size)
        return canvas

    def apply_to_bboxes(self, bboxes: Floats, view: View, **_: Any) -> Floats:
        boxes: Floats = bboxes[_hold_centres(view.window[None], bboxes[:, :4])[0]]
        corner, end = view.window[:2], view.window[2:]
        boxes[:, :4] = (boxes[:, :4] - np.tile(corner, 2)) / np.tile(end - corner, 2)
        return boxes


class RandomWindow(WindowStep):
    """A window that is larger than the image (zoom-out), smaller (crop) or neither, stretched to a square.

    Args:
        image_size: side of the result in pixels.
        zoom_out: probability that the window is up to four times as large as the image.
        crop: probability that a part of that window is taken.
    """

    def __init__(self, image_size: int, zoom_out: float, crop: float) -> None:
        super().__init__(image_size)
        self.zoom_out = zoom_out
        self.crop = crop

    def choose(self, shape: tuple[int, int], boxes: Floats, rng: np.random.Generator) -> Floats:
        """See `WindowStep.choose`."""
        window = WHOLE
        if rng.random() < self.zoom_out:
            window = _zoom_out(rng)
        if rng.random() < self.crop:
            window = _crop(window, boxes, rng)
        return window


@dataclass(slots=True)
class View:
    """Which pixels of the image go where on the square.

    Attributes:
        window: (4,) the square's corners xyxy as fractions of the image; beyond 0 .. 1 where it is filled.
        source: rows and columns of the image.
        target: rows and columns of the square.
    """

    window: Floats
    source: tuple[slice, slice]
    target: tuple[slice, slice]

    @property
    def target_size(self) -> tuple[int, int]:
        return self.target[0].stop - self.target[0].start, self.target[1].stop - self.target[1].start

    @classmethod
    def on(cls, window: Floats, shape: tuple[int, int], image_size: int) -> View:
        """The view through `window`, moved by less than a pixel so that both sides are whole pixels."""
        window = window.copy()
        source, target = [], []
        for axis, length in ((1, shape[0]), (0, shape[1])):
            start, end = window[axis], window[axis + 2]
            scale = image_size / (end - start)
            first, last = _whole_pixels(max(start, 0.0) * length, min(end, 1.0) * length, length)
            left, right = _whole_pixels((first / length - start) * scale, (last / length - start) * scale, image_size)
            scale = (right - left) * length / (last - first)
            window[axis] = first / length - left / scale
            window[axis + 2] = window[axis] + image_size / scale
            source.append(slice(first, last))
            target.append(slice(left, right))
        return cls(window, (source[0], source[1]), (target[0], target[1]))


def _whole_pixels(start: float, end: float, length: int) -> tuple[int, int]:
    """Rounded to a range of at least one pixel within 0 .. length."""
    first = min(max(round(start), 0), length - 1)
    return first, min(max(round(end), first + 1), length)


def _zoom_out(rng: np.random.Generator) -> Floats:
    """A window that contains the image."""
    side = rng.uniform(1.0, MAX_ZOOM_OUT)
    corner = -rng.uniform(0.0, side - 1.0, 2)
    return np.concatenate([corner, corner + side])


def _crop(outer: Floats, boxes: Floats, rng: np.random.Generator) -> Floats:
    """A part of `outer` that keeps some object with the IoU that is drawn; `outer` itself if no trial does."""
    least = rng.choice(MIN_IOUS)
    sides = rng.uniform(*CROP_SIDE, (CROP_TRIALS, 2))
    corners = rng.uniform(0.0, 1.0, (CROP_TRIALS, 2)) * (1.0 - sides)
    trials = np.concatenate([corners, corners + sides], axis=1)
    windows = trials * np.tile(outer[2:] - outer[:2], 2) + np.tile(outer[:2], 2)
    aspect = sides[:, 0] / sides[:, 1]
    fits = (aspect >= CROP_ASPECT[0]) & (aspect <= CROP_ASPECT[1])
    if len(boxes):
        fits &= np.where(_hold_centres(windows, boxes), _iou(windows, boxes), -1.0).max(axis=1) >= least
    else:
        fits &= _hold_centres(WHOLE[None], windows)[0]
    return windows[fits.argmax()] if fits.any() else outer


def _hold_centres(windows: Floats, boxes: Floats) -> NDArray[np.bool_]:
    """(W, B) whether the centre of a box lies in a window; both xyxy."""
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    inside = (centres >= windows[:, None, :2]) & (centres < windows[:, None, 2:])
    return np.logical_and(inside[..., 0], inside[..., 1])


def _iou(windows: Floats, boxes: Floats) -> Floats:
    """(W, B) intersection over union; both xyxy and with an area."""
    overlap = np.minimum(windows[:, None, 2:], boxes[:, 2:]) - np.maximum(windows[:, None, :2], boxes[:, :2])
    intersection = overlap.clip(0).prod(axis=2)
    areas = [(corners[:, 2:] - corners[:, :2]).prod(axis=1) for corners in (windows, boxes)]
    ious: Floats = intersection / (areas[0][:, None] + areas[1] - intersection)
    return ious
