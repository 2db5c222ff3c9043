"""`data.classes` of detection data, and evaluation without training annotations."""

from __future__ import annotations

import logging
import shutil
from typing import TYPE_CHECKING

import pytest

from backbone.errors import InputError
from tasks.data.build import build_splits
from tasks.data.config import CocoConfig, VocConfig
from tests.data.builders import box_entry, image_entry, voc_object, voc_xml, write_coco_split, write_voc

if TYPE_CHECKING:
    from pathlib import Path


def write_coco(root: Path) -> None:
    """Classes by id: dog 2, cat 7, owl 90. Val: a dog and a cat in image 5, a crowd of owls in 9, nothing in 8."""
    boxes = [
        box_entry(1, 5, [0, 0, 9, 9], category=2),
        box_entry(2, 9, [0, 0, 8, 8], category=90, iscrowd=1),
        box_entry(3, 5, [1, 1, 9, 9], category=7),
    ]
    write_coco_split(root, [image_entry(1)], [box_entry(1, 1, [0, 0, 9, 9], category=2)])
    write_coco_split(root, [image_entry(5), image_entry(8), image_entry(9)], boxes, split="val2017")


def test_a_subset_of_coco(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_coco(tmp_path)
    caplog.set_level(logging.INFO)
    splits = build_splits(CocoConfig(root=str(tmp_path), classes=["owl", "cat"]), "detection")
    assert (splits.labels.names, splits.labels.ids) == (("owl", "cat"), (90, 7))
    assert splits.val.labels == splits.train.labels == splits.labels
    assert [sample.labels.tolist() for sample in (splits.val[0], splits.val[1], splits.val[2])] == [[1], [], [0]]
    assert splits.val[0].boxes_xyxy_px.tolist() == [[1, 1, 10, 10]]
    assert splits.val[2].crowd.tolist() == [True]
    assert [labels.tolist() for _, labels in splits.val.boxes()] == [[1], [], []]  # type: ignore[attr-defined]
    truth = splits.val.ground_truth()  # type: ignore[attr-defined]
    assert [(one["category_id"], one["image_id"]) for one in truth["annotations"]] == [(7, 5), (90, 9)]
    assert [one["name"] for one in truth["categories"]] == ["owl", "cat"]
    assert "of val, 1 objects of other classes are left out" in caplog.text


def test_classes_that_the_data_lacks(tmp_path: Path) -> None:
    write_coco(tmp_path)
    with pytest.raises(InputError, match=r"data.classes=\[owls\]: the data has no owls; nearest of its 3 classes: owl"):
        build_splits(CocoConfig(root=str(tmp_path), classes=["owls"]), "detection")
    with pytest.raises(InputError, match=r"data.classes=\[owl, owl\]: label map: class name 'owl' occurs 2 times"):
        build_splits(CocoConfig(root=str(tmp_path), classes=["owl", "owl"]), "detection")
    with pytest.raises(InputError, match=r"data.classes: owls is no category of .*; those are "):
        build_splits(CocoConfig(root=str(tmp_path), classes=["owls"]), "segmentation")


def test_a_subset_of_voc(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    xml = voc_xml(voc_object("dog", 1, 1, 9, 9) + voc_object("cat", 2, 2, 9, 9) + voc_object("cat", 3, 3, 9, 9))
    write_voc(tmp_path, {"train": {"a": xml}, "val": {"b": xml}})
    splits = build_splits(VocConfig(root=str(tmp_path), classes=["dog", "owl"]), "detection")
    assert splits.labels.names == ("dog", "owl")
    assert splits.val[0].labels.tolist() == [0]
    assert "4 objects of other classes are left out (4 cat)" in caplog.text


def test_evaluation_needs_no_training_annotations(tmp_path: Path) -> None:
    write_coco(tmp_path / "coco")
    (tmp_path / "coco/annotations/instances_train2017.json").unlink()
    shutil.rmtree(tmp_path / "coco/train2017")
    splits = build_splits(CocoConfig(root=str(tmp_path / "coco")), "detection", need_train=False)
    assert (len(splits.train), len(splits.val), splits.labels.num_classes) == (0, 3, 3)
    with pytest.raises(InputError, match=r"instances_train2017.json"):
        build_splits(CocoConfig(root=str(tmp_path / "coco")), "detection")
    xml = voc_xml(voc_object("dog", 1, 1, 9, 9))
    write_voc(tmp_path / "voc", {"val": {"b": xml}})
    splits = build_splits(VocConfig(root=str(tmp_path / "voc")), "detection", need_train=False)
    assert (len(splits.train), len(splits.val)) == (0, 1)
