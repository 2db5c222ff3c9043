"""One image and what is known of it, from a data set to the collation.

Shapes: H W pixels of the image, M objects in it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(slots=True)
class Sample:
    """An image with its annotations.

    Attributes:
        image: (H, W, 3) uint8, RGB.
        image_id: the data set's own id.
        size: height and width of the original image in pixels; it stays when the image is resized.
        boxes_xyxy_px: (M, 4) float32, corners in pixels of `image`.
        labels: (M,) int64, 0 .. K-1.
        crowd: (M,) bool, regions that are neither positive nor negative.
        mask: (H, W) uint8 class of every pixel, 255 is void; None where the data set has none.
        class_index: class of the whole image, 0 .. K-1; None where the data set has none.
        known: names of the heads that this image has labels for, as far as the data decides that; None: all.

    A data set without boxes leaves those three empty (0 objects).
    """

    image: NDArray[np.uint8]
    image_id: int
    size: tuple[int, int]
    boxes_xyxy_px: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 4), np.float32))
    labels: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    crowd: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, np.bool_))
    mask: NDArray[np.uint8] | None = None
    class_index: int | None = None
    known: frozenset[str] | None = None


class Transform(Protocol):
    """Sample to sample; all that is left to chance comes from the seed."""

    def __call__(self, sample: Sample, seed: int, /) -> Sample: ...


@runtime_checkable
class SizedTransform(Protocol):
    """A transform that ends at any size it is asked for."""

    def at(self, image_size: int, /) -> Transform:
        """The same, ending at squares of `image_size` pixels."""
        ...
