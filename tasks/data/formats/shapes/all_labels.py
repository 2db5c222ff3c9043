"""Scenes with boxes, masks and classes of the same images, in one folder.

The class of a scene is that of the largest visible area; a scene without objects has none, so it is labelled for some
heads only.
"""

from __future__ import annotations

import csv
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from tasks.data.config import MAX_MEGAPIXELS
from tasks.data.datasets.classification import ClassificationDataset
from tasks.data.datasets.segmentation import SegmentationDataset
from tasks.data.files.mask_files import IndexMasks
from tasks.data.formats.coco.boxes import CocoDetection
from tasks.data.formats.shapes.outlines import NAMES
from tasks.data.formats.shapes.splits import SPLITS, ensure_scenes, scenes_folder
from tasks.data.formats.shapes.writers import ALL_LABELS, CLASSES, MASK_NAMES, MASKS
from tasks.data.labels import LabelMap
from tasks.data.splits import DataSplits

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tasks.data.config import BadBoxes, ShapesConfig
    from tasks.data.sample import Sample
    from tasks.data.splits import VisionData

NO_CLASS = -1


class AllLabels:
    """A split of scenes and all that is known of each. The id of a scene is its position.

    Attributes:
        views: by kind of head, the same scenes with what a head of that kind is scored on.
    """

    def __init__(self, root: Path, split: str, bad_boxes: BadBoxes) -> None:
        boxes = CocoDetection(root, split, bad_boxes)
        names = [boxes.path(index).name for index in range(len(boxes))]
        labels = LabelMap.numbered(NAMES)
        self._classes = _read_classes(root / CLASSES / f"{split}.csv", names)
        self._masks = SegmentationDataset(
            root,
            [f"{split}/{name}" for name in names],
            [f"{MASKS}/{split}/{name.removesuffix('.jpg')}.png" for name in names],
            LabelMap.indexed(MASK_NAMES),
            IndexMasks(MASK_NAMES),
            root,
        )
        self._boxes = boxes
        self.labels = boxes.labels
        self.views: dict[str, VisionData] = {
            "classification": ClassificationDataset(root / split, names, self._classes, labels, MAX_MEGAPIXELS),
            "detection": boxes,
            "segmentation": self._masks,
        }

    def __len__(self) -> int:
        return len(self._boxes)

    def path(self, index: int) -> Path:
        """Path of the image file."""
        return self._boxes.path(index)

    def __getitem__(self, index: int) -> Sample:
        label = int(self._classes[index])
        return replace(
            self._boxes[index],
            mask=self._masks.mask(index),
            class_index=None if label == NO_CLASS else label,
        )


def build_views(config: ShapesConfig, kinds: Sequence[str]) -> tuple[DataSplits, dict[str, DataSplits]]:
    """Train and val with all labels, drawn if they are not there, and what heads of each kind are scored on.

    Raises:
        InputError: the folder holds something else, or cannot be written.
    """
    root = scenes_folder(config, ALL_LABELS)
    ensure_scenes(root, config, ALL_LABELS)
    train, val = (AllLabels(root, split, config.bad_boxes) for split in SPLITS)
    views = {
        kind: DataSplits(train=train.views[kind], val=val.views[kind], test=None, labels=train.views[kind].labels)
        for kind in kinds
    }
    return DataSplits(train=train, val=val, test=None, labels=train.labels), views


def _read_classes(file: Path, names: Sequence[str]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    with file.open(encoding="utf-8", newline="") as rows:
        listed = {row["image"]: NAMES.index(row["class"]) for row in csv.DictReader(rows)}
    return np.array([listed.get(name, NO_CLASS) for name in names], dtype=np.int64)
