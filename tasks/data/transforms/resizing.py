"""Resizing of uint8 images and masks. Shapes: H W pixels.

Images are resized in two ways: `resize` gives the pixels of the libraries that public weights were trained with,
`resize_by_area` costs less where no figure hangs on them, and needs OpenCV alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import cv2
import numpy as np

from tasks.data.transforms.config import Interpolation

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Pixels: TypeAlias = NDArray[np.uint8]


def resize(image: Pixels, size: tuple[int, int], interpolation: Interpolation = Interpolation.bilinear) -> Pixels:
    """Resize to height and width `size`, with a library's pixels.

    `bilinear` and `bicubic` widen the filter when they shrink, as Pillow does. `bilinear` gives Pillow's pixels within
    one level, `bicubic` within a few where it overshoots. torch has a fast kernel for that and OpenCV none; where
    nothing shrinks, OpenCV is faster still. `point_bilinear` looks at the four nearest pixels however much it shrinks,
    as `tf.image.resize` does, and `float_bilinear` keeps the fractions. For the others see the
    functions below.

    Args:
        image: (H, W, 3) uint8.

    Returns:
        (*size, 3) uint8, contiguous; float32 from an interpolation that does not round.
    """
    image = np.ascontiguousarray(image)
    if image.shape[:2] == size:
        return image
    if interpolation is Interpolation.area:
        return resize_by_area(image, size)
    if interpolation is Interpolation.legacy_bilinear:
        return resize_as_tensorflow_1(image, size)
    if interpolation is Interpolation.float_bilinear:
        return cv2.resize(image.astype(np.float32), size[::-1], interpolation=cv2.INTER_LINEAR)  # type: ignore[return-value]
    enlarges = size[0] >= image.shape[0] and size[1] >= image.shape[1]
    if interpolation is Interpolation.point_bilinear or (enlarges and interpolation is Interpolation.bilinear):
        return cv2.resize(image, size[::-1], interpolation=cv2.INTER_LINEAR).astype(np.uint8, copy=False)
    import torch  # takes seconds, which most that is here can do without
    from torch.nn.functional import interpolate

    # One dimension more on torch's side: only then it sees that the memory is channels-last and leaves it so.
    batch = torch.from_numpy(image).unsqueeze(0).permute(0, 3, 1, 2)
    resized = interpolate(batch, size, mode=interpolation.value, antialias=True)
    return np.ascontiguousarray(resized[0].permute(1, 2, 0).numpy())


def resize_as_tensorflow_1(image: Pixels, size: tuple[int, int]) -> Pixels:
    """Resize to height and width `size` as `tf.image.resize_bilinear` of TensorFlow 1 does, without `align_corners`.

    Pixel i of the result is looked up at i * H / size, with no offset of half a pixel, between the nearest four;
    nothing is rounded.

    Args:
        image: (H, W, 3) uint8.

    Returns:
        (*size, 3) float32 in 0 .. 255.
    """
    low, high, share = zip(
        *(_neighbours(old, new) for old, new in zip(image.shape[:2], size, strict=True)), strict=True
    )
    pixels = image.astype(np.float32)
    left, right = pixels[:, low[1]], pixels[:, high[1]]
    lines = left + (right - left) * share[1][:, None]
    top = lines[low[0]]
    resized: Pixels = top + (lines[high[0]] - top) * share[0][:, None, None]
    return resized


def _neighbours(old: int, new: int) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
    """Find for each of `new` pixels the two of `old` that it lies between, and how far from the first."""
    place = np.arange(new, dtype=np.float32) * np.float32(old / new)
    low = np.floor(place).astype(np.intp)
    return low, np.minimum(low + 1, old - 1), place - low.astype(np.float32)


def resize_by_area(image: Pixels, size: tuple[int, int]) -> Pixels:
    """Resize to height and width `size`: averaged when more than two pixels fall on one, else linear.

    Args:
        image: (H, W, 3) uint8.

    Returns:
        (*size, 3) uint8, contiguous.
    """
    if image.shape[:2] == size:
        return np.ascontiguousarray(image)
    shrinks = max(image.shape[0] / size[0], image.shape[1] / size[1]) > 2
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(image, size[::-1], interpolation=interpolation).astype(np.uint8, copy=False)


def resize_mask(mask: Pixels, size: tuple[int, int]) -> Pixels:
    """Resize (H, W) uint8 to height and width `size`: the nearest value."""
    return cv2.resize(mask, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT).astype(np.uint8, copy=False)
