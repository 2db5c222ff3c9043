"""What the rest of Trident asks of a data set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from tasks.data.labels import LabelMap
    from tasks.data.sample import Sample


class Images(Protocol):
    """A split: images and what is known of each."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample: ...

    def path(self, index: int) -> Path:
        """Path of the image file."""
        ...


class VisionData(Images, Protocol):
    """A split with one list of classes. Anything that has these members plugs in."""

    labels: LabelMap


class DetectionData(VisionData, Protocol):
    """A split with boxes."""

    def boxes(self) -> list[tuple[NDArray[np.float32], NDArray[np.int64]]]:
        """Boxes and labels of every image, without reading it: (M, 4) xyxy as fractions of it, and (M,). No crowd."""
        ...

    def ground_truth(self) -> dict[str, Any]:
        """Annotations in COCO's format, as its evaluators take it.

        Ids of categories are the data set's own, boxes xywh in pixels.
        """
        ...


class ClassificationData(VisionData, Protocol):
    """A split with one class for every image. The id of an image is its position."""

    def classes(self) -> NDArray[np.int64]:
        """(N,) class index of every image, without reading it."""
        ...


class SegmentationData(VisionData, Protocol):
    """A split whose samples have a mask. Every value of a mask but 255 is an index of `labels`.

    The id of an image is its position.
    """


@dataclass(slots=True)
class DataSplits:
    """The splits of a data set, all with the same labels. `test` is None where there is no annotated test split."""

    train: VisionData
    val: VisionData
    test: VisionData | None
    labels: LabelMap

    def of(self, head: str) -> DataSplits:
        """What a head is scored on, with its labels: all of it, where there is one head."""
        return self


@dataclass(slots=True)
class JointSplits:
    """The splits that several heads learn from. Ids of images are those of what each head is scored on.

    Attributes:
        heads: by the head's name, what it is scored on.
    """

    train: Images
    val: Images
    test: Images | None
    heads: dict[str, DataSplits]

    def of(self, head: str) -> DataSplits:
        """What a head is scored on, with its labels."""
        return self.heads[head]
