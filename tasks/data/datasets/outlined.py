"""A split with outlines of objects, which are drawn as masks when an image is read.

Larger objects are drawn first, so that a small object in front of a large one is seen. Crowds are void, since their
outlines are coarse; single objects are drawn over them.
Shapes: N images, B objects, H W pixels.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from heads.structures import VOID
from tasks.data.checks import check_index
from tasks.data.files.images import read_image
from tasks.data.formats.coco.outlines import Outlines, inside, pixels_of
from tasks.data.sample import Sample

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from tasks.data.labels import LabelMap


@dataclass(slots=True)
class Objects:
    """Objects of a split in any order.

    Attributes:
        owner: (B,) int64, position of the image that an object belongs to.
        classes: (B,) uint8, values of the mask.
        crowd: (B,) bool.
        outlines: of each object, such as `tasks.data.formats.coco.outlines.fault` has nothing against.
    """

    owner: NDArray[np.int64]
    classes: NDArray[np.uint8]
    crowd: NDArray[np.bool_]
    outlines: list[Any]


class OutlinedDataset:
    """Images in a folder and outlines on them. The id of an image is its position.

    Args:
        folder: of the images.
        names: of the files, relative to it.
        sizes: (N, 2) height and width in pixels.
        objects: of all images.
        labels: of the values of the masks, background included.
        file: where the outlines come from, for messages.
    """

    def __init__(
        self,
        folder: Path,
        names: Sequence[str],
        sizes: NDArray[np.int64],
        objects: Objects,
        labels: LabelMap,
        file: Path,
    ) -> None:
        order = np.argsort(objects.owner, kind="stable")
        self.labels = labels
        self._file, self._folder = file, folder
        self._file_names = np.array(names, dtype=np.str_)
        self._sizes = sizes
        self._starts = np.searchsorted(objects.owner[order], np.arange(len(names) + 1))
        self._classes, self._crowd = objects.classes[order], objects.crowd[order]
        self._outlines = Outlines.pack([objects.outlines[place] for place in order.tolist()])
        self._positions: NDArray[np.int64] = np.arange(len(names))

    def subset(self, positions: Sequence[int]) -> Self:
        """The images at these positions."""
        part = copy.copy(self)
        part._positions = self._positions[list(positions)]
        return part

    def __len__(self) -> int:
        return len(self._positions)

    def path(self, index: int) -> Path:
        """Path of the image file."""
        return self._folder / str(self._file_names[self._position(index)])

    def __getitem__(self, index: int) -> Sample:
        """Read an image and draw its mask.

        Raises:
            InputError: the file is broken or not of the size that the annotations state.
        """
        return self.look(index, shrink=1)

    def look(self, index: int, shrink: int = 8) -> Sample:
        """Sample as `[index]`, but the image comes at a fraction of its size (see `read_image`); its mask does not."""
        height, width = self.size(index)
        image = read_image(self.path(index), (height, width), self._file, shrink)
        return Sample(image=image, image_id=index, size=(height, width), mask=self.mask(index))

    def size(self, index: int) -> tuple[int, int]:
        """Height and width of an image in pixels."""
        height, width = self._sizes[self._position(index)].tolist()
        return height, width

    def objects(self, index: int) -> list[tuple[int, bool, Any]]:
        """Class, whether it is a crowd, and outline of each object of an image, as COCO's files have it."""
        position = self._position(index)
        return [
            (int(self._classes[place]), bool(self._crowd[place]), self._outlines.plain(place))
            for place in range(int(self._starts[position]), int(self._starts[position + 1]))
        ]

    def classes_of(self, index: int) -> list[int]:
        """Classes of the objects of an image, without its mask being drawn; crowds are of none."""
        position = self._position(index)
        of_image = slice(int(self._starts[position]), int(self._starts[position + 1]))
        classes: list[int] = np.unique(self._classes[of_image][~self._crowd[of_image]]).tolist()
        return classes

    def mask(self, index: int) -> NDArray[np.uint8]:
        """(H, W) classes."""
        position = self._position(index)
        height, width = self._sizes[position].tolist()
        mask = np.zeros((height, width), dtype=np.uint8, order="F")
        first, end = int(self._starts[position]), int(self._starts[position + 1])
        if first == end:
            return np.ascontiguousarray(mask)
        drawn = [self._outlines.run_lengths(place, height, width) for place in range(first, end)]
        crowd = self._crowd[first:end]
        values = np.where(crowd, np.uint8(VOID), self._classes[first:end])
        for place in np.lexsort((-pixels_of(drawn), ~crowd)):
            np.copyto(mask, values[place], where=inside(drawn[place]))
        return np.ascontiguousarray(mask)

    def _position(self, index: int) -> int:
        check_index(index, len(self))
        return int(self._positions[index])
