"""Images whose pixels are not decoded yet.

A random crop uses a part of an image, and often at a fraction of its size. Its window is therefore drawn from the size
in the header, and only then the image is decoded, smaller where the window allows it. A data set takes part by having
`encoded(index)`, a transform by having `from_encoded`; where one of them has not, `TransformedData` passes whole
samples, with the same answer but for the decoder's scaling.

Shapes: H W pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias, runtime_checkable

import numpy as np

from tasks.data.files.images import check_pixels, decode_stored, exif_orientation, stored_size, turn
from tasks.data.sample import Sample

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    Pixels: TypeAlias = NDArray[np.uint8]

SHRINKS = (8, 4, 2)
"""What JPEG decoders do with less work; factors between take longer than the whole image."""


class Window(NamedTuple):
    """A part of an image, in pixels of its full size."""

    top: int
    left: int
    height: int
    width: int

    def slices(self, shrink: int = 1, shape: tuple[int, ...] | None = None) -> tuple[slice, slice]:
        """Rows and columns of it, at least one each, in an image of `shape` that was divided by `shrink`."""
        rows = _range(self.top, self.height, shrink, shape[0] if shape else self.top + self.height)
        columns = _range(self.left, self.width, shrink, shape[1] if shape else self.left + self.width)
        return rows, columns


class EncodedImage:
    """The contents of an image file.

    Attributes:
        name: of the file, for messages.
        size: height and width in pixels, as a viewer shows it.

    Args:
        name: of the file, for messages.
        data: its contents.
        max_megapixels: an image with more pixels (in millions) is refused before it takes memory; None: see
            `check_pixels`.

    Raises:
        InputError: the header is broken or of an unknown format, or the image is too large.
    """

    __slots__ = ("_data", "_orientation", "name", "size")

    def __init__(self, name: str | Path, data: bytes, max_megapixels: float | None) -> None:
        height, width = stored_size(name, data)
        check_pixels(name, (height, width), max_megapixels)
        self.name = name
        self._data = data
        self._orientation = exif_orientation(data)
        self.size = (width, height) if self._orientation >= 5 else (height, width)

    def decode(self, window: Window | None = None, least: int | None = None) -> Pixels:
        """The image or a part of it, as a viewer shows it.

        Args:
            window: the part; None is the whole.
            least: allows JPEG to come at a half, a quarter or an eighth of its size as long as the shorter side of the
                window keeps this many pixels; the window then moves by less than a pixel of the smaller image.

        Returns:
            (H, W, 3) uint8, RGB, contiguous.

        Raises:
            InputError: the file is broken, truncated or of an unknown format.
        """
        sides = window[2:] if window else self.size
        shrink = 1 if least is None else next((factor for factor in SHRINKS if min(sides) >= factor * least), 1)
        image = turn(decode_stored(self.name, self._data, shrink), self._orientation)
        if window is not None:
            # Formats that cannot be decoded smaller come whole.
            shrink = 1 if image.shape[:2] == self.size else shrink
            image = image[window.slices(shrink, image.shape)]
        return np.ascontiguousarray(image)


@dataclass(slots=True)
class EncodedSample:
    """An image with a class, not decoded yet.

    Attributes:
        image: the file's contents.
        image_id: the data set's own id.
        class_index: 0 .. K-1.
    """

    image: EncodedImage
    image_id: int
    class_index: int

    def with_pixels(self, pixels: Pixels) -> Sample:
        """The sample with pixels made from its image; the original size stays."""
        return Sample(image=pixels, image_id=self.image_id, size=self.image.size, class_index=self.class_index)


@runtime_checkable
class EncodedData(Protocol):
    """A data set that gives images before they are decoded."""

    def encoded(self, index: int) -> EncodedSample: ...


@runtime_checkable
class LookedAtData(Protocol):
    """A data set that gives images at a fraction of their size, with all that is known of them at full size."""

    def look(self, index: int, shrink: int = 8) -> Sample: ...


@runtime_checkable
class EncodedTransform(Protocol):
    """A transform that decodes what it uses."""

    def from_encoded(self, sample: EncodedSample, seed: int, /) -> Sample: ...


def _range(start: int, length: int, shrink: int, limit: int) -> slice:
    first = min(round(start / shrink), limit - 1)
    return slice(first, min(max(round((start + length) / shrink), first + 1), limit))
