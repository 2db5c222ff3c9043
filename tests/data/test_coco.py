"""The COCO reader, against hand-written files."""

from __future__ import annotations

import json
import logging
import pickle
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from backbone.errors import InputError
from tasks.data.build import build_splits
from tasks.data.config import BadBoxes, CocoConfig
from tasks.data.formats.coco.boxes import CocoDetection
from tasks.data.formats.coco.masks import CocoSegmentation
from tasks.data.formats.coco.results import load_annotations
from tests.data.builders import CATEGORIES, box_entry, image_entry, picture, write_coco_split

if TYPE_CHECKING:
    from pathlib import Path

    from tasks.data.datasets.detection import DetectionDataset


def read(root: Path, images: list[dict[str, Any]], boxes: list[dict[str, Any]], **policy: BadBoxes) -> DetectionDataset:
    write_coco_split(root, images, boxes)
    return CocoDetection(root, "train2017", **policy)


def change(file: Path, **parts: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | parts))


@pytest.fixture
def boxes() -> list[dict[str, Any]]:
    """Two boxes of image 5, one of them a crowd, and one of image 9; image 8 has none."""
    return [
        box_entry(11, 9, [0, 0, 60, 40], category=90),
        box_entry(12, 5, [10, 5.5, 20, 10], category=2, segmentation=[[1, 2, 3, 4, 5, 6]]),
        box_entry(13, 5, [1, 2, 3, 4], category=7, iscrowd=1, segmentation={"counts": [1], "size": [1, 1]}),
    ]


@pytest.fixture
def images() -> list[dict[str, Any]]:
    return [image_entry(5), image_entry(8, 1, 1), image_entry(9)]


def test_samples(tmp_path: Path, images: list[dict[str, Any]], boxes: list[dict[str, Any]]) -> None:
    data = read(tmp_path, images, boxes)
    assert len(data) == 3
    assert (data.labels.names, data.labels.ids) == (("dog", "cat", "owl"), (2, 7, 90))
    first, empty, last = (data[index] for index in range(3))
    np.testing.assert_allclose(first.image.astype(int), picture(40, 60), atol=8)
    assert (first.image_id, first.size) == (5, (40, 60))
    np.testing.assert_array_equal(first.boxes_xyxy_px, np.array([[10, 5.5, 30, 15.5], [1, 2, 4, 6]], np.float32))
    assert first.boxes_xyxy_px.dtype == np.float32
    assert first.labels.tolist() == [0, 1]
    assert first.crowd.tolist() == [False, True]
    assert empty.image.shape == (1, 1, 3)
    assert empty.boxes_xyxy_px.shape == (0, 4)
    assert last.labels.tolist() == [2]
    assert data.path(2) == tmp_path / "train2017" / "0009.jpg"


def test_ends_of_the_data_set(tmp_path: Path, images: list[dict[str, Any]], boxes: list[dict[str, Any]]) -> None:
    data = read(tmp_path, images, boxes)
    for index in (3, -1):
        with pytest.raises(IndexError, match=rf"image {index}: must be in 0 \.\. 2"):
            data[index]


def test_boxes_are_fractions_without_crowd(
    tmp_path: Path, images: list[dict[str, Any]], boxes: list[dict[str, Any]]
) -> None:
    (first, first_labels), (none, _), (last, _) = read(tmp_path, images, boxes).boxes()
    np.testing.assert_allclose(first, [[10 / 60, 5.5 / 40, 0.5, 15.5 / 40]], rtol=1e-6)
    assert first.dtype == np.float32
    assert first_labels.tolist() == [0]
    assert none.shape == (0, 4)
    np.testing.assert_array_equal(last, [[0, 0, 1, 1]])


def test_ground_truth_is_what_the_file_says(
    tmp_path: Path, images: list[dict[str, Any]], boxes: list[dict[str, Any]]
) -> None:
    truth = json.loads(json.dumps(read(tmp_path, images, boxes).ground_truth()))
    assert truth["images"] == images
    assert truth["categories"] == sorted(CATEGORIES, key=lambda category: category["id"])
    assert [row["id"] for row in truth["annotations"]] == [1, 2, 3]
    found = {
        row["category_id"]: (row["image_id"], row["bbox"], row["area"], row["iscrowd"]) for row in truth["annotations"]
    }
    assert found == {90: (9, [0, 0, 60, 40], 1, 0), 2: (5, [10, 5.5, 20, 10], 1, 0), 7: (5, [1, 2, 3, 4], 1, 1)}


def test_area_is_the_box_where_none_is_given(tmp_path: Path) -> None:
    box = box_entry(1, 5, [0, 0, 5, 4])
    del box["area"]
    assert read(tmp_path, [image_entry(5)], [box]).ground_truth()["annotations"][0]["area"] == 20


def test_pickled_to_workers(tmp_path: Path, images: list[dict[str, Any]], boxes: list[dict[str, Any]]) -> None:
    data = read(tmp_path, images, boxes)
    again = pickle.loads(pickle.dumps(data))  # noqa: S301 - our own object
    np.testing.assert_array_equal(again[0].boxes_xyxy_px, data[0].boxes_xyxy_px)
    assert again.labels == data.labels


def test_images_without_any_object(tmp_path: Path) -> None:
    data = read(tmp_path, [image_entry(1)], [])
    assert data[0].labels.shape == (0,)
    assert data.ground_truth()["annotations"] == []


@pytest.mark.parametrize("missing", [".", "annotations", "train2017"])
def test_missing_parts(tmp_path: Path, missing: str) -> None:
    root = tmp_path / "coco"
    write_coco_split(root, [image_entry(1)], [])
    shutil.rmtree(root / missing)
    with pytest.raises(InputError, match=r"there is no such (folder|file).*data\.root=.*data\.download=true"):
        CocoDetection(root, "train2017")


def test_broken_json(tmp_path: Path) -> None:
    file = write_coco_split(tmp_path, [image_entry(1)], [])
    file.write_text(file.read_text()[:-9])
    with pytest.raises(
        InputError, match=r"instances_train2017\.json: no complete JSON, line 1 column \d+: .*; write or copy"
    ):
        CocoDetection(tmp_path, "train2017")


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        ("[]", "holds a list; COCO annotations are an object with images, annotations, categories"),
        ("{}", "has no list 'images'; COCO annotations need images, annotations, categories"),
        ('{"images": [{"id": 1}], "annotations": {}, "categories": []}', "has no list 'annotations'; COCO"),
    ],
)
def test_another_kind_of_json(tmp_path: Path, contents: str, message: str) -> None:
    write_coco_split(tmp_path, [image_entry(1)], []).write_text(contents)
    with pytest.raises(InputError, match=message):
        CocoDetection(tmp_path, "train2017")


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"images": []}, "the list 'images' is empty; choose another split"),
        (
            {"images": [image_entry(1), image_entry(1)]},
            r"images\[1\] has id 1, which occurs before; each must occur once",
        ),
        ({"images": [{"id": 1, "file_name": "0001.jpg", "width": "x"}]}, r"images\[0\] has width 'x'; must be"),
        ({"images": [7]}, r"images\[0\] is a number; must be an object"),
        ({"images": [{}]}, r"images\[0\] has no 'id'; add it or remove the entry"),
        ({"images": [image_entry(1) | {"id": "one"}]}, r"images\[0\] has id 'one'; must be a whole number"),
        (
            {"categories": [{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]},
            r"categories\[1\] has id 1, which occurs before",
        ),
        ({"categories": []}, "the list 'categories' is empty"),
        ({"annotations": [{"id": 4, "image_id": 1, "category_id": 7}]}, r"annotations\[0\] has no 'bbox'"),
        (
            {"annotations": [box_entry(4, 1, [1, 2, 3])]},
            r"annotations\[0\] has bbox \[1, 2, 3\]; must be \[x, y, width, height\] in pixels, four numbers",
        ),
        (
            {"annotations": [box_entry(3, 1, [1, 2, 3, 4]), box_entry(4, 1, ["a", 2, 3, 4])]},
            r"annotations\[1\] has bbox \['a', 2, 3, 4\]; must be \[x, y",
        ),
        (
            {"annotations": [box_entry(4, 77, [1, 2, 3, 4])]},
            "annotation 4 is of image 77, which is not among the 1 images of the file; 1 annotations have no image",
        ),
        (
            {"annotations": [box_entry(4, 1, [1, 2, 3, 4], category=3)]},
            "annotation 4 of image 1 has category_id 3, which is not in the list; allowed are 2, 7, 90: complete",
        ),
    ],
)
def test_contents_that_do_not_fit(tmp_path: Path, parts: dict[str, Any], message: str) -> None:
    change(write_coco_split(tmp_path, [image_entry(1)], []), **parts)
    with pytest.raises(InputError, match=rf"instances_train2017\.json: .*{message}"):
        CocoDetection(tmp_path, "train2017")


WRONG_TYPES = [
    ("annotations", "iscrowd", "0", "must be 0 or 1"),
    ("annotations", "iscrowd", 2, "must be 0 or 1"),
    ("annotations", "iscrowd", None, "must be 0 or 1"),
    ("annotations", "area", None, "must be a finite number of square pixels, not negative, or left out"),
    ("annotations", "area", "9", "must be a finite number"),
    ("annotations", "area", -1, "must be a finite number"),
    ("annotations", "area", float("nan"), "must be a finite number"),
    ("annotations", "area", 10**400, "must be a finite number"),
    ("annotations", "bbox", ["1", "2", "3", "4"], "must be .* four numbers"),
    ("annotations", "bbox", [True, 2, 3, 4], "must be .* four numbers"),
    ("annotations", "bbox", None, "must be .* four numbers"),
    ("annotations", "bbox", {"x": 1}, "must be .* four numbers"),
    ("annotations", "image_id", "1", "must be a whole number"),
    ("annotations", "image_id", [1], "must be a whole number"),
    ("annotations", "image_id", 1.0, "must be a whole number"),
    ("annotations", "image_id", True, "must be a whole number"),
    ("annotations", "image_id", 2**63, "must be a whole number"),
    ("annotations", "category_id", "7", "must be a whole number"),
    ("annotations", "category_id", {}, "must be a whole number"),
    ("images", "id", 2.9, "must be a whole number"),
    ("images", "id", 2**70, "must be a whole number"),
    ("categories", "id", [7], "must be a whole number"),
    ("categories", "name", None, "must be a text"),
    ("categories", "name", 5, "must be a text"),
    ("categories", "name", "", "must be a text"),
]


@pytest.mark.parametrize(("part", "key", "value", "wanted"), WRONG_TYPES)
def test_training_and_scoring_take_the_same_files(tmp_path: Path, part: str, key: str, value: Any, wanted: str) -> None:
    file = write_coco_split(
        tmp_path, [image_entry(1)], [box_entry(1, 1, [1, 2, 3, 4], segmentation=[[1, 2, 9, 2, 9, 9]])]
    )
    contents = json.loads(file.read_text())
    contents[part][0][key] = value
    file.write_text(json.dumps(contents))
    readers = (
        lambda: CocoDetection(tmp_path, "train2017"),
        lambda: CocoSegmentation(tmp_path, "train2017"),
        lambda: load_annotations(file),
    )
    for read_file in readers:
        with pytest.raises(InputError, match=rf"train2017\.json: {part}\[0\] has {key} .*{wanted}") as refused:
            read_file()
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("width", 40.9, "has width 40.9; must be a whole number"),
        ("height", "40", "has height '40'; must be a whole number"),
        ("height", 0, "has width 60 and height 0; must be from 1 pixel up"),
        ("width", 10**9, "has width 1000000000 and height 40; must be .* 178 megapixels at most"),
        ("file_name", None, "has file_name None; must be a text"),
        ("file_name", 7, "has file_name 7; must be a text"),
    ],
)
def test_images_that_are_stated_wrongly(tmp_path: Path, key: str, value: Any, message: str) -> None:
    file = write_coco_split(tmp_path, [image_entry(1)], [])
    change(file, images=[image_entry(1) | {key: value}])
    for kind in (CocoDetection, CocoSegmentation):
        with pytest.raises(InputError, match=rf"images\[0\] {message}"):
            kind(tmp_path, "train2017")


def test_annotations_without_id(tmp_path: Path) -> None:
    boxes = [box_entry(1, 1, [1, 2, 3, 4]), box_entry(2, 9, [1, 2, 3, 4])]
    for box in boxes:
        del box["id"]
    file = write_coco_split(tmp_path, [image_entry(1)], boxes)
    with pytest.raises(InputError, match="an annotation without id is of image 9, which is not among the 1 images"):
        CocoDetection(tmp_path, "train2017")
    change(file, annotations=boxes[:1])
    assert len(CocoDetection(tmp_path, "train2017")[0].labels) == 1


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_byte_order_marks(tmp_path: Path, encoding: str) -> None:
    file = write_coco_split(tmp_path, [image_entry(1)], [])
    file.write_text(file.read_text(), encoding=encoding)
    assert len(CocoDetection(tmp_path, "train2017")) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000, "is no JSON text .*nested too deep"),
        ('{"images": "\udcff"}', "is no JSON text"),
        ('{"images": [' + "9" * 5000 + "]}", "is no JSON text .*limit"),
    ],
)
def test_texts_that_are_no_json(tmp_path: Path, text: str, message: str) -> None:
    file = write_coco_split(tmp_path, [image_entry(1)], [])
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(InputError, match=message):
        CocoDetection(tmp_path, "train2017")


def test_absent_images_are_named_and_counted(tmp_path: Path) -> None:
    write_coco_split(tmp_path, [image_entry(number) for number in range(1, 5)], [])
    (tmp_path / "train2017" / "0002.jpg").unlink()
    with pytest.raises(InputError, match=r"0002\.jpg: this image is listed in .*json but absent; add the file"):
        CocoDetection(tmp_path, "train2017")
    (tmp_path / "train2017" / "0004.jpg").unlink()
    with pytest.raises(InputError, match=r"0002\.jpg: this image and 1 more is listed"):
        CocoDetection(tmp_path, "train2017")


def test_images_in_subfolders(tmp_path: Path) -> None:
    file = write_coco_split(tmp_path, [image_entry(1)], [])
    (tmp_path / "train2017" / "sub").mkdir()
    (tmp_path / "train2017" / "0001.jpg").rename(tmp_path / "train2017" / "sub" / "0001.jpg")
    change(file, images=[image_entry(1) | {"file_name": "sub/0001.jpg"}])
    assert CocoDetection(tmp_path, "train2017")[0].size == (40, 60)
    change(file, images=[image_entry(1) | {"file_name": "nowhere/0001.jpg"}])
    with pytest.raises(InputError, match=r"nowhere/0001\.jpg: this image is listed"):
        CocoDetection(tmp_path, "train2017")


BAD_BOXES = {
    "nan": ([float("nan"), 2, 3, 4], "is not a number or infinite"),
    "null": ([None, 2, 3, 4], "is not a number or infinite"),
    "infinite": ([1, 2, float("inf"), 4], "is not a number or infinite"),
    "zero width": ([1, 2, 0, 4], "has no area"),
    "negative height": ([1, 9, 3, -4], "has no area"),
    "outside": ([60, 2, 5, 4], "lies outside the image"),
}


@pytest.mark.parametrize("case", BAD_BOXES)
def test_bad_boxes_are_errors(tmp_path: Path, case: str) -> None:
    bbox, reason = BAD_BOXES[case]
    boxes = [box_entry(1, 5, [0, 0, 9, 9]), box_entry(2, 5, bbox), box_entry(3, 5, [1, 1, 0, 0])]
    message = rf"json: 2 of 3 boxes cannot be used; the first, annotation 2 of 0005\.jpg with bbox .*, {reason}"
    with pytest.raises(InputError, match=message + r"; correct the file or .* data\.bad_boxes=drop"):
        read(tmp_path, [image_entry(5)], boxes)


@pytest.mark.parametrize("case", BAD_BOXES)
def test_bad_boxes_are_dropped_and_reported_once(tmp_path: Path, case: str, caplog: pytest.LogCaptureFixture) -> None:
    boxes = [box_entry(2, 5, BAD_BOXES[case][0]), box_entry(1, 5, [0, 0, 9, 9])]
    data = read(tmp_path, [image_entry(5)], boxes, bad_boxes=BadBoxes.drop)
    assert data[0].boxes_xyxy_px.tolist() == [[0, 0, 9, 9]]
    assert len(data.ground_truth()["annotations"]) == 1
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "1 of 2 boxes cannot be used; the first, annotation 2 of 0005.jpg" in record.getMessage()


def test_boxes_partly_outside_are_clipped_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    boxes = [box_entry(1, 5, [50, 30, 20, 20]), box_entry(2, 5, [-5, 1, 10, 4]), box_entry(3, 5, [-0.5, 0, 60.9, 40])]
    data = read(tmp_path, [image_entry(5)], boxes)
    assert data[0].boxes_xyxy_px.tolist() == [[50, 30, 60, 40], [0, 1, 5, 5], [0, 0, 60, 40]]
    assert data.ground_truth()["annotations"][0]["bbox"] == [50, 30, 20, 20]
    (record,) = caplog.records
    assert "2 boxes reach outside their image and are clipped; the first is annotation 1" in record.getMessage()


def test_config_builds_both_splits(tmp_path: Path) -> None:
    write_coco_split(tmp_path, [image_entry(1)], [box_entry(1, 1, [0, 0, 9, 9])])
    file = write_coco_split(tmp_path, [image_entry(2)], [], split="val2017")
    splits = build_splits(CocoConfig(root=str(tmp_path)), "detection")
    assert (len(splits.train), len(splits.val), splits.test) == (1, 1, None)
    assert splits.labels == splits.train.labels
    change(file, categories=CATEGORIES[:2])
    with pytest.raises(InputError, match=r"train \(.*\) and val \(.*\) list other categories \(3 and 2\)"):
        build_splits(CocoConfig(root=str(tmp_path)), "detection")


def test_download_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def download(root: Path) -> None:
        write_coco_split(root, [image_entry(1)], [])
        write_coco_split(root, [image_entry(2)], [], split="val2017")

    monkeypatch.setattr("tasks.data.formats.coco.download.download_coco", download)
    assert len(build_splits(CocoConfig(root=str(tmp_path / "new"), download=True), "detection").train) == 1
