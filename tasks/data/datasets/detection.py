"""A split with boxes, whatever file format it was read from.

Shapes: N images, B boxes of the whole split, M boxes of one image. Everything is held in a few arrays: small, and
shared with worker processes instead of copied object by object.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from backbone.errors import InputError
from tasks.data.checks import check_index, question_units, settle_boxes
from tasks.data.files.images import decode_image, read_bytes
from tasks.data.sample import Sample

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from tasks.data.config import BadBoxes
    from tasks.data.labels import LabelMap


@dataclass(slots=True)
class Annotations:
    """Boxes of a split as its files state them; the order of boxes is free.

    Attributes:
        file_names: (N,) str, relative to the folder of images.
        image_ids: (N,) int64, each once.
        sizes: (N, 2) int64, height and width in pixels.
        owner: (B,) int64, position of the image that a box belongs to.
        bbox_xywh_px: (B, 4) float64, corner and size; may hold anything.
        labels: (B,) int64, 0 .. K-1.
        crowd: (B,) bool.
        areas: (B,) float64, pixels of the object, for the evaluator's size classes.
    """

    file_names: NDArray[np.str_]
    image_ids: NDArray[np.int64]
    sizes: NDArray[np.int64]
    owner: NDArray[np.int64]
    bbox_xywh_px: NDArray[np.float64]
    labels: NDArray[np.int64]
    crowd: NDArray[np.bool_]
    areas: NDArray[np.float64]


class NoDetections:
    """A split without an image, where a training split is not needed and not there."""

    def __init__(self, labels: LabelMap) -> None:
        self.labels = labels

    def __len__(self) -> int:
        return 0

    def __getitem__(self, index: int) -> Sample:
        raise IndexError(index)

    def path(self, index: int) -> Path:
        """See `DetectionDataset.path`."""
        raise IndexError(index)

    def boxes(self) -> list[tuple[NDArray[np.float32], NDArray[np.int64]]]:
        """See `DetectionDataset.boxes`."""
        return []


class DetectionDataset:
    """Images in a folder and their boxes.

    Args:
        folder: of the images.
        annotations: of all of them.
        labels: of the whole data set.
        bad_boxes: what to do with boxes that cannot be learned.
        file: where the annotations come from, for messages.
        describe: names the image and annotation of a box, given its position in `annotations`.

    Raises:
        InputError: there is no image, or a bad box and `bad_boxes` is `error`.
    """

    def __init__(
        self,
        folder: Path,
        annotations: Annotations,
        labels: LabelMap,
        bad_boxes: BadBoxes,
        file: Path,
        describe: Callable[[int], str],
    ) -> None:
        if not len(annotations.image_ids):
            raise InputError(f"{file}: lists no image; choose another split or complete the file")
        xywh = annotations.bbox_xywh_px
        question_units(xywh, annotations.sizes[annotations.owner], file)
        with np.errstate(over="ignore", invalid="ignore"):  # what no number comes of is a bad box
            xyxy = np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1)
            keep, clipped = settle_boxes(xyxy, annotations.sizes[annotations.owner], bad_boxes, file, describe)
        order = np.argsort(annotations.owner, kind="stable")
        order = order[keep[order]]
        self.labels = labels
        self._folder = folder
        self._file_names = annotations.file_names
        self._image_ids = annotations.image_ids
        self._sizes = annotations.sizes
        self._starts = np.searchsorted(annotations.owner[order], np.arange(len(annotations.image_ids) + 1))
        self._bbox_xywh_px = xywh[order]
        self._boxes_xyxy_px = clipped[order]
        self._classes = annotations.labels[order]
        self._crowd = annotations.crowd[order]
        self._areas = annotations.areas[order]

    def keep_classes(self, labels: LabelMap) -> int:
        """Forget the objects of other classes, and number the classes as in `labels`, whose ids are the data set's.

        Images stay, also those without an object then.

        Returns:
            How many objects were left out.
        """
        numbers = np.array([labels.to_index(i) if i in labels else -1 for i in self.labels.ids], dtype=np.int64)
        classes = numbers[self._classes]
        kept = classes >= 0
        self._starts = np.concatenate([[0], np.cumsum(kept)])[self._starts]
        for name in ("_bbox_xywh_px", "_boxes_xyxy_px", "_crowd", "_areas"):
            setattr(self, name, getattr(self, name)[kept])
        self._classes, self.labels = classes[kept], labels
        return int((~kept).sum())

    def subset(self, positions: Sequence[int]) -> Self:
        """The images at these positions."""
        chosen = np.asarray(positions, dtype=np.int64)
        boxes = np.concatenate([np.zeros(0, np.int64), *(np.arange(*self._starts[[p, p + 1]]) for p in chosen)])
        part = copy.copy(self)
        for name in ("_file_names", "_image_ids", "_sizes"):
            setattr(part, name, getattr(self, name)[chosen])
        for name in ("_bbox_xywh_px", "_boxes_xyxy_px", "_classes", "_crowd", "_areas"):
            setattr(part, name, getattr(self, name)[boxes])
        part._starts = np.concatenate([[0], np.cumsum(np.diff(self._starts)[chosen])])
        return part

    def __len__(self) -> int:
        return len(self._image_ids)

    def path(self, index: int) -> Path:
        """Path of the image file."""
        return self._folder / str(self._file_names[index])

    def contents(self, index: int) -> bytes:
        """Contents of the image file; an InputError names it if it cannot be read."""
        return read_bytes(self.path(index))

    def __getitem__(self, index: int) -> Sample:
        """Read an image.

        Raises:
            InputError: the file is broken, or not of the size that the annotations state.
        """
        return self.look(index, shrink=1)

    def look(self, index: int, shrink: int = 8) -> Sample:
        """Sample as `[index]`, but the image comes at a fraction of its size (see `read_image`); all else does not."""
        of_image = self._boxes_of(index)
        height, width = self._sizes[index].tolist()
        return Sample(
            image=decode_image(self.path(index), self.contents(index), (height, width), shrink=shrink),
            image_id=int(self._image_ids[index]),
            size=(height, width),
            boxes_xyxy_px=self._boxes_xyxy_px[of_image].copy(),
            labels=self._classes[of_image].copy(),
            crowd=self._crowd[of_image].copy(),
        )

    def boxes(self) -> list[tuple[NDArray[np.float32], NDArray[np.int64]]]:
        """Boxes and labels of every image, without reading it: (M, 4) xyxy as fractions of it, and (M,). No crowd."""
        sides = np.tile(self._sizes[:, ::-1], 2).astype(np.float32)
        result = []
        for index in range(len(self)):
            of_image = self._boxes_of(index)
            single = ~self._crowd[of_image]
            result.append((self._boxes_xyxy_px[of_image][single] / sides[index], self._classes[of_image][single]))
        return result

    def ground_truth(self) -> dict[str, Any]:
        """Annotations in COCO's format, with the data set's own category ids and the boxes as the files state them.

        Annotations are numbered from 1, since COCO's evaluators take an id of 0 for "no match".
        """
        images = [
            {"id": image_id, "file_name": name, "height": height, "width": width}
            for image_id, name, (height, width) in zip(
                self._image_ids.tolist(), self._file_names.tolist(), self._sizes.tolist(), strict=True
            )
        ]
        owners = np.repeat(self._image_ids, np.diff(self._starts)).tolist()
        annotations = [
            {
                "id": number,
                "image_id": owner,
                "category_id": self.labels.to_id(label),
                "bbox": bbox,
                "area": area,
                "iscrowd": int(crowd),
            }
            for number, (owner, label, bbox, area, crowd) in enumerate(
                zip(
                    owners,
                    self._classes.tolist(),
                    self._bbox_xywh_px.tolist(),
                    self._areas.tolist(),
                    self._crowd.tolist(),
                    strict=True,
                ),
                start=1,
            )
        ]
        categories = [
            {"id": category, "name": name} for category, name in zip(self.labels.ids, self.labels.names, strict=True)
        ]
        return {"images": images, "annotations": annotations, "categories": categories}

    def _boxes_of(self, index: int) -> slice:
        check_index(index, len(self))
        return slice(int(self._starts[index]), int(self._starts[index + 1]))
