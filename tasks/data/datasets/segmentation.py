"""A split with masks, whatever layout it was read from."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Self

import numpy as np

from backbone.errors import InputError
from heads.structures import VOID
from tasks.data.checks import check_index
from tasks.data.files.images import read_image
from tasks.data.sample import Sample

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from tasks.data.files.mask_files import MaskReader
    from tasks.data.labels import LabelMap


class SegmentationDataset:
    """Pairs of an image file and a mask file. The id of an image is its position.

    Args:
        root: folder that the names are relative to.
        images, masks: names of the files, one mask for each image.
        labels: of the values of the masks.
        read_mask: reads a mask file.
        listed_in: where the images are listed, for messages.

    Raises:
        InputError: there is no image.
    """

    def __init__(
        self,
        root: Path,
        images: Sequence[str],
        masks: Sequence[str],
        labels: LabelMap,
        read_mask: MaskReader,
        listed_in: Path,
    ) -> None:
        if not images:
            raise InputError(f"{listed_in}: lists no image; choose another split or complete it")
        self.labels = labels
        self._root = root
        self._images = np.array(images, dtype=np.str_)
        self._masks = np.array(masks, dtype=np.str_)
        self._read_mask = read_mask

    def subset(self, positions: Sequence[int]) -> Self:
        """The images at these positions."""
        part = copy.copy(self)
        part._images, part._masks = self._images[list(positions)], self._masks[list(positions)]
        return part

    def __len__(self) -> int:
        return len(self._images)

    def path(self, index: int) -> Path:
        """Path of the image file."""
        check_index(index, len(self))
        return self._root / str(self._images[index])

    def mask_path(self, index: int) -> Path:
        """Path of the mask file."""
        check_index(index, len(self))
        return self._root / str(self._masks[index])

    def __getitem__(self, index: int) -> Sample:
        """Read an image and its mask.

        An image that EXIF turns is turned, unless its mask was drawn on the image as stored.

        Raises:
            InputError: a file is absent or broken, the two differ in size, or a value of the mask is no class.
        """
        return self.look(index, shrink=1)

    def look(self, index: int, shrink: int = 8) -> Sample:
        """Sample as `[index]`, but the image comes at a fraction of its size (see `read_image`); its mask does not."""
        mask = self._read_mask(self.mask_path(index))
        height, width = mask.shape
        image = read_image(self.path(index), (height, width), self.mask_path(index), shrink)
        return Sample(image=image, image_id=index, size=(height, width), mask=mask)

    def mask(self, index: int) -> NDArray[np.uint8]:
        """The mask of an image (H, W) alone."""
        return self._read_mask(self.mask_path(index))

    def classes_of(self, index: int) -> list[int]:
        """Classes that occur in the mask of an image."""
        return [value for value in np.unique(self.mask(index)).tolist() if value != VOID]
