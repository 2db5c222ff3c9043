"""Layouts as tools write them: names of splits, lists of VOC with more than names, Roboflow's COCO."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tasks.data.build import build_splits
from tasks.data.config import CocoConfig, FolderConfig, VocConfig
from tests.data.builders import box_entry, image_entry, jpeg, picture, voc_object, voc_xml, write_coco_split, write_voc

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("line", ["a.jpg", "a  1", "a -1", "a.jpg 0", "a"])
def test_lines_of_a_list(tmp_path: Path, line: str) -> None:
    root = write_voc(tmp_path, {"train": {"a": voc_xml(voc_object("dog", 2, 2, 9, 9))}})
    for split in ("train", "val"):
        (root / "ImageSets" / "Main" / f"{split}.txt").write_text(f"{line}\n")
    splits = build_splits(VocConfig(root=str(root)), "detection")
    assert splits.train.path(0).name == "a.jpg"
    assert splits.labels.names == ("dog",)


def test_a_list_with_folders(tmp_path: Path) -> None:
    root = write_voc(tmp_path, {"train": {"a": voc_xml(voc_object("dog", 2, 2, 9, 9))}})
    for folder, name in (("JPEGImages", "a.jpg"), ("Annotations", "a.xml")):
        (root / folder / "default").mkdir()
        (root / folder / name).rename(root / folder / "default" / name)
    for split in ("train", "val"):
        (root / "ImageSets" / "Main" / f"{split}.txt").write_text("default/a\n")
    splits = build_splits(VocConfig(root=str(root)), "detection")
    assert splits.train.path(0) == root / "JPEGImages" / "default" / "a.jpg"
    assert splits.train[0].boxes_xyxy_px.tolist() == [[1, 1, 9, 9]]


def test_coco_of_roboflow(tmp_path: Path) -> None:
    for split in ("train", "valid", "test"):
        file = write_coco_split(tmp_path, [image_entry(1)], [box_entry(1, 1, [1, 1, 9, 9])], split=split)
        file.rename(tmp_path / split / "_annotations.coco.json")
    splits = build_splits(CocoConfig(root=str(tmp_path)), "detection")
    assert splits.val.path(0) == tmp_path / "valid" / "0001.jpg"
    assert splits.test is not None
    assert splits.test.path(0) == tmp_path / "test" / "0001.jpg"


def test_coco_with_images_in_a_folder_of_their_own(tmp_path: Path) -> None:
    for split in ("train", "val"):
        file = write_coco_split(tmp_path, [image_entry(1)], [box_entry(1, 1, [1, 1, 9, 9])], split=split)
        (tmp_path / "images").mkdir(exist_ok=True)
        (tmp_path / split).rename(tmp_path / "images" / split)
    splits = build_splits(CocoConfig(root=str(tmp_path)), "detection")
    assert splits.train.path(0) == tmp_path / "images" / "train" / "0001.jpg"
    contents = json.loads(file.read_text())
    contents["images"][0]["file_name"] = "val/0001.jpg"
    file.write_text(json.dumps(contents))
    splits = build_splits(CocoConfig(root=str(tmp_path)), "detection")
    assert splits.val.path(0) == tmp_path / "images" / "val" / "0001.jpg"


@pytest.mark.parametrize("name", ["val", "valid", "validation"])
def test_names_of_the_validation_split(tmp_path: Path, name: str) -> None:
    for split in ("train", name):
        (tmp_path / split / "cat").mkdir(parents=True)
        (tmp_path / split / "cat" / "a.jpg").write_bytes(jpeg(picture(9, 9)))
    splits = build_splits(FolderConfig(root=str(tmp_path)), "classification")
    assert splits.val.path(0) == tmp_path / name / "cat" / "a.jpg"
