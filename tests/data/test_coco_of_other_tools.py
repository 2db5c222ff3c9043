"""COCO's files as other tools write them, by hand."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from backbone.errors import InputError
from tasks.data.config import CocoConfig
from tasks.data.formats.coco.boxes import CocoDetection, build_splits
from tests.data.builders import box_entry, image_entry, write_coco_split

if TYPE_CHECKING:
    from pathlib import Path


def read(root: Path, images: list[dict[str, Any]], boxes: list[dict[str, Any]]) -> CocoDetection:
    write_coco_split(root, images, boxes)
    return CocoDetection(root, "train2017")


def test_what_other_tools_write(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Folders by backslashes, no sizes, a parent as category 0, one file under two ids; every one is said or read."""
    images = [image_entry(1), image_entry(2), {**image_entry(3), "file_name": "0002.jpg"}]
    parents = [{"id": 0, "name": "all"}, {"id": 1, "name": "a", "supercategory": "all"}]
    file = write_coco_split(tmp_path, images, [box_entry(1, 1, [2, 3, 10, 12], category=1)], categories=parents)
    (tmp_path / "train2017" / "sub").mkdir()
    shutil.copy(tmp_path / "train2017" / "0001.jpg", tmp_path / "train2017" / "sub")
    contents = json.loads(file.read_text())
    contents["images"][0] = {"id": 1, "file_name": "sub\\0001.jpg"}
    file.write_text(json.dumps(contents))
    data = CocoDetection(tmp_path, "train2017")
    assert data.path(0) == tmp_path / "train2017" / "sub" / "0001.jpg"
    assert data[0].size == (40, 60)
    assert "1 of 3 images have no height and width" in caplog.text
    assert "1 files, such as 0002.jpg, are listed under several image ids" in caplog.text
    assert "all has no object, is the supercategory of others" in caplog.text
    config = CocoConfig(root=str(tmp_path), val_split="train2017", classes=["a"])
    assert build_splits(config).labels.names == ("a",)
    contents["images"][0]["file_name"] = "https://example.org/1.jpg"
    file.write_text(json.dumps(contents))
    with pytest.raises(InputError, match=r"1 of 3 images are addresses, such as https://example\.org/1\.jpg"):
        CocoDetection(tmp_path, "train2017")


def test_boxes_in_other_units(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    images = [image_entry(1)]
    with pytest.raises(InputError, match=r"all 2 boxes lie between 0 and 1, so they look like fractions"):
        read(tmp_path / "a", images, [box_entry(1, 1, [0.1, 0.2, 0.3, 0.4]), box_entry(2, 1, [0, 0, 1, 1])])
    read(tmp_path / "b", images, [box_entry(1, 1, [40, 20, 50, 30]), box_entry(2, 1, [5, 5, 20, 10])])
    assert "1 of 2 boxes reach outside" in caplog.text
    assert "they look like corners" in caplog.text
    caplog.clear()
    read(tmp_path / "c", images, [box_entry(1, 1, [40, 20, 10, 30]), box_entry(2, 1, [5, 5, 20, 10])])
    assert "corners" not in caplog.text
