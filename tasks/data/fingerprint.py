"""What an image looks like in a few bytes, and which images look the same.

A difference hash finds candidates: 64 bits, each whether a pixel of the 8 x 9 grey image is darker than its right
neighbour. Scaling, recompression and brightness hardly change it. Candidates have a quarter of the hash in common,
which three differing bits cannot prevent, and are confirmed on coloured thumbnails. An image without contrast looks
like every other of its kind and is not compared.

The library `imagehash` has that hash, with SciPy and PyWavelets behind it, but takes Pillow images, where the data sets
here give arrays, and has no search. Shapes: N images.
Reference: N. Krawetz, "Kind of Like That", 2013.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Pixels: TypeAlias = NDArray[np.uint8]

THUMBNAIL = 8
"""Side of a thumbnail in pixels."""
QUARTERS = 4
MAX_BITS = 6
MAX_DIFFERENCE = 0.3
"""Largest difference of thumbnails of the same image: mean absolute difference, brightness apart, over the contrast.
Photographs that were halved, written as JPEG of quality 30, or lost a fifth of their contrast stay below 0.24;
different images with almost the same hash were above 0.45."""
MIN_CONTRAST = 4.0
"""Standard deviation of a thumbnail's values; a flat image has less."""
BLOCK = 1 << 12
"""Candidates that are compared at once."""


def difference_hash(grey: Pixels) -> int:
    """64 bits of a grey image (H, W), the top left pair of pixels in the highest."""
    small = cv2.resize(grey, (9, 8), interpolation=cv2.INTER_AREA)
    return int.from_bytes(np.packbits(small[:, :-1] < small[:, 1:]).tobytes(), "big")


def thumbnail(image: Pixels) -> Pixels:
    """(THUMBNAIL, THUMBNAIL, 3) of an image (H, W, 3)."""
    return cv2.resize(image, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


def same_images(hashes: NDArray[np.uint64], thumbnails: Pixels) -> list[list[int]]:
    """Groups of images that look the same as the first of their group, each group sorted.

    Args:
        hashes: (N,).
        thumbnails: (N, THUMBNAIL, THUMBNAIL, 3) uint8.
    """
    quarters = hashes.astype(">u8").view(">u2").reshape(-1, QUARTERS).astype(np.uint16)
    orders = [np.argsort(quarters[:, part], kind="stable") for part in range(QUARTERS)]
    starts = [np.searchsorted(quarters[order, part], np.arange((1 << 16) + 1)) for part, order in enumerate(orders)]
    leader = np.full(len(hashes), -1)
    for first in range(len(hashes)):
        if leader[first] >= 0 or thumbnails[first].std() < MIN_CONTRAST:
            continue
        near = [
            order[start[quarter] : start[quarter + 1]]
            for order, start, quarter in zip(orders, starts, quarters[first].astype(int).tolist(), strict=True)
        ]
        others = np.unique(np.concatenate(near))
        others = others[(others > first) & (leader[others] < 0)]
        others = others[np.bitwise_count(hashes[others] ^ hashes[first]) <= MAX_BITS]
        same = others[_look_same(thumbnails[first], thumbnails, others)]
        if len(same):
            leader[[first, *same]] = first
    return [np.flatnonzero(leader == first).tolist() for first in np.unique(leader[leader >= 0])]


def _look_same(one: Pixels, thumbnails: Pixels, others: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(M,) whether each of the thumbnails at `others` (M,) shows what `one` does."""
    found = np.zeros(len(others), dtype=np.bool_)
    contrast = one.std()
    for start in range(0, len(others), BLOCK):
        part = slice(start, start + BLOCK)
        difference = thumbnails[others[part]].astype(np.float32) - one
        difference -= difference.mean(axis=(1, 2, 3), keepdims=True)
        found[part] = np.abs(difference).mean(axis=(1, 2, 3)) <= MAX_DIFFERENCE * contrast
    return found
