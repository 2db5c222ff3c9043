"""What people really have; the folder is named by TRIDENT_REAL_DATA. Expected numbers are those of its README."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from backbone.errors import InputError
from tasks.data.build import build_splits
from tasks.data.config import BadBoxes, CocoConfig, VocConfig
from tasks.data.formats.coco.boxes import CocoDetection
from tasks.data.transforms.config import SSDTransformConfig
from tasks.data.transforms.ssd import TrainTransform
from tests.real_data import NEEDED, ROOT

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = NEEDED


def test_every_coco_val_image() -> None:
    data = CocoDetection(ROOT / "coco", "val2017")
    samples = [data[index] for index in range(len(data))]
    assert (len(samples), data.labels.num_classes, data.labels.ids[-1]) == (206, 80, 90)
    assert sum(len(sample.labels) for sample in samples) == 1786
    assert sum(int(sample.crowd.sum()) for sample in samples) == 21
    assert any(len(sample.labels) == 0 for sample in samples)
    for sample in samples:
        assert sample.image.shape == (*sample.size, 3)


def test_coco_truth_is_the_file(tmp_path: Path) -> None:
    from pycocotools.coco import COCO

    official = COCO(str(ROOT / "coco/annotations/instances_val2017.json")).dataset
    truth = CocoDetection(ROOT / "coco", "val2017").ground_truth()

    def rows(contents: dict[str, list[dict[str, object]]]) -> list[tuple[object, ...]]:
        keys = ("image_id", "category_id", "bbox", "area", "iscrowd")
        return sorted(tuple(row[key] for key in keys) for row in contents["annotations"])

    assert rows(truth) == rows(official)
    assert truth["categories"] == [{key: row[key] for key in ("id", "name")} for row in official["categories"]]


def test_coco_splits_and_augmentation() -> None:
    splits = build_splits(CocoConfig(root=str(ROOT / "coco")), "detection")
    assert len(splits.train) == 343
    assert sum(len(boxes) for boxes, _ in splits.train.boxes()) == 2974 - 29
    apply = TrainTransform(SSDTransformConfig(image_size=320))
    for index in range(0, 343, 7):
        sample = apply(splits.train[index], index)
        assert ((sample.boxes_xyxy_px >= 0) & (sample.boxes_xyxy_px <= 320)).all()


def test_the_two_boxes_of_bccd(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(InputError, match=r"BloodImage_003(38|43)\.xml with corners .*, has no area; .*bad_boxes=drop"):
        build_splits(VocConfig(root=str(ROOT / "bccd")), "detection")
    splits = build_splits(VocConfig(root=str(ROOT / "bccd"), bad_boxes=BadBoxes.drop), "detection")
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 2
    assert {name for name in ("00338", "00343") if any(name in message for message in messages)} == {"00338", "00343"}
    assert splits.test is not None
    parts = (splits.train, splits.val, splits.test)
    assert [len(part) for part in parts] == [205, 87, 72]
    assert sum(len(boxes) for part in parts for boxes, _ in part.boxes()) == 4888 - 2
    assert splits.labels.names == ("Platelets", "RBC", "WBC")
    edges = np.concatenate([boxes for part in parts for boxes, _ in part.boxes()])
    assert (edges.min(), edges.max()) == (0, 1)
