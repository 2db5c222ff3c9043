"""Every image is looked at, whatever is wrong with some of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from backbone.errors import InputError
from tasks.commands.inspect.counts import count, report_boxes, report_classes, report_shapes
from tasks.commands.inspect.findings import Severity
from tasks.commands.inspect.reading import Reading
from tasks.data.build import build_splits
from tasks.data.config import FolderConfig, MasksConfig
from tasks.data.files.images import read_image
from tasks.data.formats.coco.boxes import CocoDetection
from tests.data.builders import box_entry, image_entry, jpeg, picture, write_coco_split

if TYPE_CHECKING:
    from pathlib import Path


def read(data: object, missing: frozenset[str] = frozenset()) -> Reading:
    reading = Reading(data, range(len(data)))  # type: ignore[arg-type]
    reading.read(missing, 2, lambda done: None)
    return reading


@pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.9, 0.99])
def test_truncation_is_seen_at_an_eighth_of_the_size_as_at_full_size(tmp_path: Path, share: float) -> None:
    file = tmp_path / "x.jpg"
    whole = jpeg(np.random.default_rng(0).integers(0, 256, (200, 300, 3)).astype(np.uint8))
    file.write_bytes(whole[: int(share * len(whole))])
    for shrink in (1, 8):
        with pytest.raises(InputError, match=r"x\.jpg: broken JPEG"):
            read_image(file, shrink=shrink)


@pytest.mark.parametrize("orientation", [1, 6])
def test_size_is_that_of_the_whole_picture(tmp_path: Path, orientation: int) -> None:
    from PIL import Image

    file = tmp_path / "x.jpg"
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(picture(203, 301)).save(file, exif=exif)
    upright = (203, 301) if orientation == 1 else (301, 203)
    assert read_image(file, upright, shrink=8).shape[:2] == tuple(-(-side // 8) for side in upright)
    assert read_image(file, (203, 301), shrink=8).shape[:2] == (26, 38)
    with pytest.raises(InputError, match=r"x\.jpg: is \d+ x \d+ pixels .* annotated as 10 x 9"):
        read_image(file, (9, 10), shrink=8)


def test_all_faults_of_a_split_with_boxes(tmp_path: Path) -> None:
    entries = [image_entry(n, 160, 200) for n in range(1, 8)]
    boxes = [box_entry(1, 1, [0, 0, 40, 40]), box_entry(2, 1, [0, 0, 40, 40]), box_entry(3, 2, [3, 3, 0.1, 20], 2)]
    write_coco_split(tmp_path, entries, [*boxes, box_entry(4, 7, [0, 0, 9, 9], 90, iscrowd=1)])
    folder = tmp_path / "train2017"
    (folder / "0003.jpg").write_bytes((folder / "0003.jpg").read_bytes()[:900])
    (folder / "0004.jpg").write_bytes(jpeg(picture(200, 160)))
    (folder / "0005.jpg").write_text("not an image")
    data = CocoDetection(tmp_path, "train2017")
    (folder / "0006.jpg").unlink()
    reading = read(data, frozenset({str(folder / "0006.jpg")}))
    findings = reading.findings("train")
    assert [(f.kind, f.count, f.severity) for f in findings] == [
        ("unreadable image", 2, Severity.error),
        ("wrong mask or annotation", 1, Severity.error),
    ]
    assert findings[0].cases == [str(folder / "0003.jpg"), str(folder / "0005.jpg")]
    assert findings[0].text.endswith("(and 1 more)")
    assert "is 160 x 200 pixels (width x height) but annotated as 200 x 160" in findings[1].text
    counts = count(reading, data.labels)
    assert (counts.images, counts.looked_at, counts.unreadable, counts.objects, counts.crowds) == (7, 7, 4, 3, 1)
    assert (counts.without_objects, counts.counted) == (5, "objects")
    assert {row.name: (row.images, row.amount) for row in counts.classes} == {
        "dog": (1, 1),
        "cat": (1, 2),
        "owl": (0, 0),
    }
    assert [(f.kind, f.cases) for f in report_boxes(reading, "train", 320, 1.0)] == [
        ("box written twice", [str(folder / "0001.jpg")]),
        ("object too small to see", [str(folder / "0002.jpg")]),
    ]
    assert report_shapes(reading, "train") == []


def test_masks(tmp_path: Path) -> None:
    values = {"a": 0, "b": 1, "c": 255, "d": 7}
    for split in ("train", "val"):
        for name, value in values.items() if split == "train" else [("e", 1)]:
            for folder in ("images", "masks"):
                (tmp_path / folder / split).mkdir(parents=True, exist_ok=True)
            (tmp_path / "images" / split / f"{name}.jpg").write_bytes(jpeg(picture(40, 600)))
            cv2.imwrite(str(tmp_path / "masks" / split / f"{name}.png"), np.full((40, 600), value, np.uint8))
    (tmp_path / "images/train/d.jpg").write_bytes(b"")
    splits = build_splits(MasksConfig(root=str(tmp_path), classes=["x", "y"]), "segmentation")
    train = read(splits.train)
    findings = train.findings("train")
    assert [(f.kind, f.count) for f in findings] == [
        ("unreadable image", 1),
        ("wrong mask or annotation", 1),
        ("mask without a class", 1),
    ]
    assert "d.png: 24000 pixels have the value 7" in findings[1].text
    counts = {"train": count(train, splits.labels), "val": count(read(splits.val), splits.labels)}
    assert [(row.name, row.images, row.amount) for row in counts["train"].classes] == [("x", 1, 24000), ("y", 1, 24000)]
    assert counts["train"].void == pytest.approx(1 / 3)
    assert [(f.kind, f.split, f.text.partition(":")[0]) for f in report_classes(counts)] == [
        ("class not in val", "val", "x")
    ]
    assert [f.count for f in report_shapes(train, "train")] == [3]


def test_masks_that_count_from_1(tmp_path: Path) -> None:
    """With as many classes as values the reader refuses them; with one more only the first class is missing."""
    for split in ("train", "val"):
        for folder in ("images", "masks"):
            (tmp_path / folder / split).mkdir(parents=True, exist_ok=True)
        (tmp_path / "images" / split / "a.jpg").write_bytes(jpeg(picture(40, 60)))
        mask = np.full((40, 60), 1, np.uint8)
        mask[:20] = 2
        cv2.imwrite(str(tmp_path / "masks" / split / "a.png"), mask)
    for classes, said in (
        (["x", "y", "z"], "x: in no mask that was read. None has the value 0, that of x: where masks count classes"),
        (["x", "y", "z", "w"], "x, w: in no mask that was read. None has the value 0, that of x"),
    ):
        splits = build_splits(MasksConfig(root=str(tmp_path), classes=classes), "segmentation")
        counts = {"train": count(read(splits.train), splits.labels), "val": count(read(splits.val), splits.labels)}
        (finding,) = report_classes(counts)
        assert (finding.kind, finding.severity) == ("class that occurs nowhere", Severity.warning)
        assert finding.text.startswith(said)
    splits = build_splits(MasksConfig(root=str(tmp_path), classes=["x", "y"]), "segmentation")
    (finding,) = read(splits.train).findings("train")
    assert "its values are 1 .. 2, so the classes look counted from 1, and here they count from 0: take 1 from" in (
        finding.text
    )


def test_folders(tmp_path: Path) -> None:
    for place in ("train/a/1", "train/a/2", "train/b/3", "val/a/4", "val/b/5"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / f"{place}.jpg").write_bytes(jpeg(picture(200, 300)))
    (tmp_path / "train/b/3.jpg").write_bytes(jpeg(picture(200, 300))[:2000])
    splits = build_splits(FolderConfig(root=str(tmp_path)), "classification")
    reading = read(splits.train)
    assert [(f.kind, f.cases) for f in reading.findings("train")] == [
        ("unreadable image", [str(tmp_path / "train/b/3.jpg")])
    ]
    counts = count(reading, splits.labels)
    assert [(row.name, row.images) for row in counts.classes] == [("a", 2), ("b", 1)]
    assert counts.width is not None
    assert (counts.width.least, counts.width.most) == (300, 300)


def test_no_training_data_and_nothing_labelled(tmp_path: Path) -> None:
    write_coco_split(tmp_path, [image_entry(1)], [])
    data = CocoDetection(tmp_path, "train2017")
    held = count(read(data), data.labels)
    assert [(f.kind, f.severity) for f in report_classes({"train": held})] == [("nothing is labelled", Severity.error)]
    assert [(f.kind, f.severity) for f in report_classes({"val": held})] == [("no training data", Severity.error)]
