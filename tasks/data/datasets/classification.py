"""Images with one class each, whatever layout they were found in.

Names and classes are held in two arrays: small, and shared with worker processes instead of copied object by object.
"""

from __future__ import annotations

import copy
import os
from typing import TYPE_CHECKING, Self

import numpy as np

from tasks.data.checks import check_index
from tasks.data.files.encoded import EncodedImage, EncodedSample
from tasks.data.files.images import read_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from tasks.data.labels import LabelMap
    from tasks.data.sample import Sample


class ClassificationDataset:
    """Image files and their classes. The id of an image is its position.

    Args:
        folder: that the names are relative to.
        names: of the files.
        classes: index of each one's class, 0 .. K-1.
        labels: of the whole data set.
        max_megapixels: larger images are refused when they are read.
    """

    def __init__(
        self,
        folder: Path,
        names: Sequence[str],
        classes: Sequence[int] | NDArray[np.int64],
        labels: LabelMap,
        max_megapixels: float,
    ) -> None:
        self.labels = labels
        self._folder = folder
        self._names = np.array([os.fsencode(name) for name in names], dtype=np.bytes_)
        self._classes = np.asarray(classes, dtype=np.int64)
        self._max_megapixels = max_megapixels

    def subset(self, positions: Sequence[int]) -> Self:
        """The images at these positions."""
        part = copy.copy(self)
        part._names, part._classes = self._names[list(positions)], self._classes[list(positions)]
        return part

    def __len__(self) -> int:
        return len(self._classes)

    def path(self, index: int) -> Path:
        """Path of the image file."""
        check_index(index, len(self))
        return self._folder / os.fsdecode(bytes(self._names[index]))

    def classes(self) -> NDArray[np.int64]:
        """(N,) class index of every image, without reading it."""
        return self._classes

    def encoded(self, index: int) -> EncodedSample:
        """Read a file without decoding it.

        Raises:
            InputError: the file cannot be read, is no image, or has too many pixels.
        """
        path = self.path(index)
        return EncodedSample(
            image=EncodedImage(path, read_bytes(path), self._max_megapixels),
            image_id=index,
            class_index=int(self._classes[index]),
        )

    def __getitem__(self, index: int) -> Sample:
        """Read an image.

        Raises:
            InputError: the file cannot be read, is no image, is broken, or has too many pixels.
        """
        sample = self.encoded(index)
        return sample.with_pixels(sample.image.decode())
