"""YOLO's text files in the layouts of Ultralytics, Roboflow, Darknet and Label Studio, against arithmetic by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from backbone.errors import InputError
from tasks.data.build import build_splits
from tasks.data.config import BadBoxes, YoloConfig
from tasks.data.faults import collected
from tests.data.builders import jpeg, picture

if TYPE_CHECKING:
    from pathlib import Path

BOX = "1 0.5 0.5 0.5 0.25\n"
"""In an image of 40 x 60 pixels: 15 15 45 25."""
TRIANGLE = "0 0 0 0.5 0 0 0.5\n"


def write(root: Path, images: dict[str, str | None], yaml: str | None = None) -> Path:
    """Images of 40 x 60 pixels by path, and the text of the labels of each; None: no file."""
    for seed, (name, text) in enumerate(images.items()):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg(picture(40, 60, seed)))
        if text is not None:
            note = root / name.replace("images/", "labels/").replace(".jpg", ".txt")
            note.parent.mkdir(parents=True, exist_ok=True)
            note.write_text(text)
    if yaml is not None:
        (root / "data.yaml").write_text(yaml)
    return root


def both(text: str | None, folder: str = "images/{}/a.jpg") -> dict[str, str | None]:
    return {folder.format("train"): text, folder.format("val"): BOX}


def test_every_broken_image_is_collected_where_faults_are(tmp_path: Path) -> None:
    images = {f"images/{split}/{name}.jpg": BOX for split in ("train", "val") for name in "abc"}
    root = write(tmp_path, dict(images), "names: [cat, dog]\ntrain: images/train\nval: images/val\n")
    for name in ("train/b.jpg", "val/a.jpg"):
        (root / "images" / name).write_bytes(b"")
    with collected() as faults:
        splits = build_splits(YoloConfig(root=str(root)), "detection")
    assert (len(splits.train), len(splits.val)) == (3, 3)
    unread = [case for fault in faults if fault.unread for case in fault.cases]
    assert unread == [str(root / "images" / name) for name in ("train/b.jpg", "val/a.jpg")]
    with pytest.raises(InputError, match=r"b\.jpg: is an empty file; replace the file or take it out"):
        build_splits(YoloConfig(root=str(root)), "detection")


@pytest.mark.parametrize(
    ("yaml", "folder"),
    [
        ("names: [cat, dog]\ntrain: images/train\nval: images/val\n", "images/{}/a.jpg"),
        ("names: {0: cat, 1: dog}\nnc: 2\npath: .\ntrain: [images/train]\nval: images/val\n", "images/{}/a.jpg"),
        ("names: [cat, dog]\npath: ../elsewhere\ntrain: images/train\nval: images/val\n", "images/{}/a.jpg"),
        ("train: ../train/images\nval: ../val/images\nnc: 2\nnames: ['cat', 'dog']\n", "{}/images/a.jpg"),
        ("names: [cat, dog]\ntrain: train.txt\nval: val.txt\n", "images/{}/a.jpg"),
    ],
)
def test_descriptions(tmp_path: Path, yaml: str, folder: str) -> None:
    root = write(tmp_path / "set", both(BOX, folder), yaml)
    for split in ("train", "val"):
        (root / f"{split}.txt").write_text(f"./{folder.format(split)}\n")
    for place in (root, root / "data.yaml"):
        splits = build_splits(YoloConfig(root=str(place)), "detection")
        assert splits.labels.names == ("cat", "dog")
        assert splits.train.path(0).read_bytes() == (root / folder.format("train")).read_bytes()
        sample = splits.train[0]
        assert sample.boxes_xyxy_px.tolist() == [[15, 15, 45, 25]]
        assert sample.labels.tolist() == [1]


def test_without_a_description_and_of_darknet(tmp_path: Path) -> None:
    root = write(tmp_path / "studio", {"images/a.jpg": BOX, "images/b.jpg": None})
    (root / "classes.txt").write_text("cat\ndog\n")
    splits = build_splits(YoloConfig(root=str(root), split=0.5), "detection")
    assert (len(splits.train), len(splits.val)) == (1, 1)
    dark = write(tmp_path / "dark", {"obj_train_data/a.jpg": BOX})
    (dark / "obj.names").write_text("cat\ndog\n")
    (dark / "obj.data").write_text(
        "classes = 2\ntrain = data/train.txt\nvalid = data/train.txt\nnames = data/obj.names\n"
    )
    (dark / "train.txt").write_text("data/obj_train_data/a.jpg\n")
    assert build_splits(YoloConfig(root=str(dark)), "detection").train[0].labels.tolist() == [1]


def test_outlines_are_boxes_or_masks(tmp_path: Path) -> None:
    yaml = "names: [cat, dog]\ntrain: images/train\nvalid: images/val\n"
    root = write(tmp_path, both(TRIANGLE), yaml)
    (root / "labels" / "val" / "a.txt").write_text(TRIANGLE)
    boxes = build_splits(YoloConfig(root=str(root)), "detection")
    assert boxes.train[0].boxes_xyxy_px.tolist() == [[0, 0, 30, 20]]
    masks = build_splits(YoloConfig(root=str(root)), "segmentation")
    assert masks.labels.names == ("background", "cat", "dog")
    mask = masks.val[0].mask
    assert mask is not None
    assert mask.shape == (40, 60)
    assert (mask[2, 2], mask[18, 28], mask[30, 50]) == (1, 0, 0)
    assert abs(int((mask == 1).sum()) - 300) <= 40  # half of 30 x 20; how the border is drawn is pycocotools'
    only = build_splits(YoloConfig(root=str(root), classes=["dog"]), "segmentation")
    assert not only.val[0].mask.any()  # type: ignore[union-attr]
    (root / "labels" / "val" / "a.txt").write_text(BOX)
    with pytest.raises(InputError, match=r"1 objects cannot be drawn; the first, line 1 of .*a\.txt has a box and no"):
        build_splits(YoloConfig(root=str(root)), "segmentation")
    assert build_splits(YoloConfig(root=str(root), bad_boxes=BadBoxes.drop), "segmentation").val[0].mask is not None


def test_empty_missing_and_points(tmp_path: Path) -> None:
    yaml = "names: [cat, dog]\ntrain: images/train\nval: images/val\nkpt_shape: [1, 3]\n"
    root = write(
        tmp_path,
        {"images/train/a.jpg": "", "images/train/b.jpg": None, "images/val/a.jpg": BOX.strip() + " .5 .5 2"},
        yaml,
    )
    splits = build_splits(YoloConfig(root=str(root)), "detection")
    assert [len(splits.train[place].labels) for place in (0, 1)] == [0, 0]
    assert splits.val[0].boxes_xyxy_px.tolist() == [[15, 15, 45, 25]]
    assert len(build_splits(YoloConfig(root=str(root), classes=["cat"]), "detection").val[0].labels) == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\n5 .5 .5 .1 .1", r"a\.txt: line 2 has the class 5; there are 2, from 0 to 1; correct the line"),
        ("cat .5 .5 .1 .1", r"line 1 is 'cat \.5 \.5 \.1 \.1'; it must be a class and numbers"),
        ("0 .5 .5 .1 .1 .9", r"line 1 has 5 numbers after the class; .*\(a score after the box is of predictions\)"),
        ("0,.5,.5,.1,.1", "line 1 is .* with spaces between"),
        ("0 nan .5 .1 .1", "line 1 has a number that is not finite"),
        ("0 .5 .5 .0 .1", r"1 of 1 boxes cannot be used; the first, line 1 of .*a\.txt, has no area"),
        ("0 30 20 10 10", "boxes such as line 1 of .* look like pixels; YOLO's labels are fractions"),
    ],
)
def test_wrong_lines(tmp_path: Path, text: str, message: str) -> None:
    root = write(tmp_path, both(text), "names: [cat, dog]\ntrain: images/train\nval: images/val\n")
    with pytest.raises(InputError, match=message):
        build_splits(YoloConfig(root=str(root)), "detection")


@pytest.mark.parametrize(
    ("yaml", "message"),
    [
        ("names: [a\n", r"data\.yaml: line \d no YAML"),
        ("- a\n", "holds no keys"),
        ("names: 3\n", r"names is 3; must be a list of class names"),
        ("names: {0: a, 2: b}\n", r"names counts \[0, 2\]; must be 0, 1, 2"),
        ("names: [a, b]\nnc: 3\ntrain: x\n", "nc is 3 and names has 2"),
        ("names: [a]\ntrain: images/none\n", r"there is no such folder or list; .*data\.yaml names it as train"),
        ("names: [a]\ntrain: 7\n", "train is 7; must be a folder"),
        ("names: [a]\ntrain: images/train\n", r"has no split val, and of splits train; name it there, or data\.split"),
        ("names: !!python/object/apply:os.getcwd []\n", "no YAML"),
        ("names: [a]\ntrain: images/train\nval: /\n", r"leads out of data\.root|no such|could not"),
    ],
)
def test_wrong_descriptions(tmp_path: Path, yaml: str, message: str) -> None:
    root = write(tmp_path, both("0 .5 .5 .1 .1"), yaml)
    if "val: /" in yaml:
        yaml = yaml.replace("val: /", f"val: {tmp_path.parent}")
        (root / "data.yaml").write_text(yaml)
    with pytest.raises(InputError, match=message):
        build_splits(YoloConfig(root=str(root)), "detection")
