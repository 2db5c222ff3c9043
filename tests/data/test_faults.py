"""Readers that stop at the first fault report all of them where faults are collected, and go on without the entries."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from backbone.errors import InputError
from tasks.data.build import build_splits
from tasks.data.config import BadBoxes, FolderConfig, MasksConfig, VocConfig
from tasks.data.faults import caution, collected, each, fault
from tasks.data.formats.coco.boxes import CocoDetection
from tasks.data.formats.coco.masks import CocoSegmentation
from tests.data.builders import box_entry, image_entry, jpeg, picture, voc_object, voc_xml, write_coco_split, write_voc

if TYPE_CHECKING:
    from pathlib import Path


def test_raised_unless_collected(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(InputError, match=r"^x is wrong$"):
        fault("wrong", "x is wrong", ["x"])
    caution("odd", "y is odd", ["y"])
    assert [record.getMessage() for record in caplog.records] == ["y is odd"]
    with pytest.raises(InputError, match="z is broken"), each("broken", "z"):
        raise InputError("z is broken")
    caplog.clear()
    with collected() as found:
        fault("wrong", "x is wrong", ["x"])
        caution("odd", "y is odd", ["y"])
        with each("broken", "z"):
            raise InputError("z is broken")
    assert [(f.kind, f.text, f.cases, f.serious) for f in found] == [
        ("wrong", "x is wrong", ["x"], True),
        ("odd", "y is odd", ["y"], False),
        ("broken", "z is broken", ["z"], True),
    ]
    assert not caplog.records
    with pytest.raises(InputError):
        fault("wrong", "x is wrong", ["x"])


def test_coco(tmp_path: Path) -> None:
    boxes = [
        box_entry(1, 1, [0, 0, 10, 10]),
        box_entry(2, 1, [0, 0, 10, 10], category=3),
        box_entry(3, 9, [0, 0, 10, 10]),
        box_entry(4, 2, [5, 5, 0, 4]),
        box_entry(5, 2, [50, 30, 20, 20]),
        box_entry(6, 2, [1, 1, 4, 4], category=2),
    ]
    write_coco_split(tmp_path, [image_entry(1), image_entry(2), image_entry(3)], boxes)
    (tmp_path / "train2017" / "0003.jpg").unlink()
    with collected() as found:
        data = CocoDetection(tmp_path, "train2017")
    assert [(f.kind, len(f.cases), f.serious) for f in found] == [
        ("unknown image id", 1, True),
        ("unknown category id", 1, True),
        ("missing image", 1, True),
        ("degenerate box", 1, True),
        ("box outside its image", 1, False),
    ]
    assert found[2].cases == [str(tmp_path / "train2017" / "0003.jpg")]
    assert len(data) == 3
    assert [classes.tolist() for _, classes in data.boxes()] == [[1], [1, 0], []]
    with collected() as found:
        CocoDetection(tmp_path, "train2017", BadBoxes.drop)
    assert [f.serious for f in found if f.kind == "degenerate box"] == [False]


def test_coco_outlines(tmp_path: Path) -> None:
    square = [[1, 1, 9, 1, 9, 9]]
    rows = [
        box_entry(1, 1, [0, 0, 10, 10], segmentation=square),
        box_entry(2, 1, [0, 0, 10, 10], segmentation=[[1, 2]]),
        box_entry(3, 8, [0, 0, 10, 10], segmentation=square),
    ]
    write_coco_split(tmp_path, [image_entry(1)], rows)
    with collected() as found:
        data = CocoSegmentation(tmp_path, "train2017")
    assert [(f.kind, len(f.cases)) for f in found] == [("unknown image id", 1), ("wrong outline", 1)]
    mask = data[0].mask
    assert mask is not None
    assert set(np.unique(mask).tolist()) == {0, 2}


def test_voc_boxes(tmp_path: Path) -> None:
    good = voc_xml(voc_object("a", 1, 1, 10, 10))
    strange = voc_xml(voc_object("b", 1, 1, 10, 10) + voc_object("a", 3, 3, 3, 3))
    train = {"one": good, "two": strange, "three": "<annotation>", "four": good, "five": good}
    write_voc(tmp_path, {"train": train, "val": {"six": good}})
    (tmp_path / "JPEGImages" / "four.jpg").unlink()
    (tmp_path / "Annotations" / "five.xml").unlink()
    with collected() as found:
        splits = build_splits(VocConfig(root=str(tmp_path), classes=["a"]), "detection")
    assert [(f.kind, len(f.cases)) for f in found] == [
        ("missing image", 1),
        ("unreadable annotation", 1),
        ("unreadable annotation", 1),
        ("degenerate box", 1),
    ]
    assert len(splits.train) == 2


def test_masks_and_folders(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    for split in ("train", "val"):
        for name in ("a", "b"):
            for folder in (f"images/{split}", f"masks/{split}", f"{split}/{name}"):
                (tmp_path / folder).mkdir(parents=True, exist_ok=True)
            (tmp_path / f"images/{split}/{name}.jpg").write_bytes(jpeg(picture(40, 60)))
            (tmp_path / f"{split}/{name}/1.jpg").write_bytes(jpeg(picture(40, 60)))
            cv2.imwrite(str(tmp_path / f"masks/{split}/{name}.png"), np.zeros((40, 60), np.uint8))
    (tmp_path / "masks/train/a.png").unlink()
    (tmp_path / "images/val/b.jpg").unlink()
    with collected() as found:
        splits = build_splits(MasksConfig(root=str(tmp_path), classes=["x"]), "segmentation")
    assert [f.kind for f in found] == ["image without mask", "mask without image"]
    assert (len(splits.train), len(splits.val)) == (1, 1)

    (tmp_path / "val/c").mkdir()
    (tmp_path / "val/c/1.jpg").write_bytes(jpeg(picture(40, 60)))
    (tmp_path / "train/b/1.jpg").rename(tmp_path / "train/b/notes.txt")
    with collected() as found:
        splits = build_splits(FolderConfig(root=str(tmp_path)), "classification")
    assert [f.kind for f in found] == ["class without images", "file that is no image", "unknown class"]
    assert (len(splits.train), len(splits.val)) == (1, 2)
    assert not caplog.records
