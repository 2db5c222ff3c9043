"""Files of a data set that lie elsewhere, by their name or by a link: refused, unless the user says so."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from backbone.errors import InputError
from tasks.data.build import build_splits
from tasks.data.config import CocoConfig, DataConfig, FolderConfig, ImageNetConfig, MasksConfig, VocConfig
from tasks.data.faults import collected
from tests.data.builders import box_entry, image_entry, jpeg, picture, voc_object, voc_xml, write_coco_split, write_voc
from tests.e2e.command import trident

if TYPE_CHECKING:
    from pathlib import Path

OUTSIDE = r"this file.* leads out of data\.root=.*; remove it, or say data\.outside_root=true if you trust where it"


@pytest.fixture
def private(tmp_path: Path) -> Path:
    """An image beside the data set."""
    file = tmp_path / "private.jpg"
    file.write_bytes(jpeg(picture(40, 60, 9)))
    return file


def coco(root: Path, name: str | None = None) -> CocoConfig:
    """A data set whose second training image has another name in its annotations."""
    for split in ("train2017", "val2017"):
        boxes = [box_entry(number, number, [1, 2, 20, 30]) for number in (1, 2)]
        file = write_coco_split(root, [image_entry(1), image_entry(2)], boxes, split=split)
    if name is not None:
        contents = json.loads(file.with_name("instances_train2017.json").read_text())
        contents["images"][1]["file_name"] = name
        file.with_name("instances_train2017.json").write_text(json.dumps(contents))
    return CocoConfig(root=str(root))


def allowed(config: DataConfig) -> DataConfig:
    config.outside_root = True
    return config


def check(config: DataConfig, kind: str, private: Path, shown: str, *, whole_split: bool = False) -> None:
    """It is refused in one line that names the file, collected without being read, and read if that is said."""
    with pytest.raises(InputError, match=rf"{shown}.*{OUTSIDE}") as refused:
        build_splits(config, kind)
    assert "\n" not in str(refused.value)
    with collected() as faults:
        build_splits(config, kind)
    found = next(fault for fault in faults if fault.kind == "file outside data.root")
    assert found.unread
    splits = build_splits(allowed(config), kind)
    images = [splits.train[index].image for index in range(len(splits.train))]
    assert any((image == picture_of(private)).all() for image in images) is not whole_split


def picture_of(file: Path) -> Any:
    from tasks.data.files.images import read_image

    return read_image(file)


@pytest.mark.parametrize("kind", ["detection", "segmentation"])
@pytest.mark.parametrize("how", ["upwards", "absolute", "link", "folder"])
def test_coco(tmp_path: Path, private: Path, how: str, kind: str) -> None:
    root = tmp_path / "data"
    name = {"upwards": "../../private.jpg", "absolute": str(private)}.get(how)
    config = coco(root, name)
    config.min_class_pixels = 0
    if kind == "segmentation":
        for file in (root / "annotations").iterdir():
            contents = json.loads(file.read_text())
            for row in contents["annotations"]:
                row["segmentation"] = [[1, 2, 21, 2, 21, 32]]
            contents["categories"][0]["name"] = "cat"
            file.write_text(json.dumps(contents))
    if how == "link":
        (root / "train2017" / "0002.jpg").unlink()
        (root / "train2017" / "0002.jpg").symlink_to(private)
    if how == "folder":
        (root / "train2017").rename(tmp_path / "elsewhere")
        (root / "train2017").symlink_to(tmp_path / "elsewhere")
    shown = "0001.jpg" if how == "folder" else (name or "0002.jpg")
    check(config, kind, private, shown, whole_split=how == "folder")


def test_a_link_within_the_data_set_is_followed(tmp_path: Path) -> None:
    config = coco(tmp_path / "data")
    (tmp_path / "data" / "train2017").rename(tmp_path / "data" / "real")
    (tmp_path / "data" / "train2017").symlink_to("real")
    (tmp_path / "linked").symlink_to("data")
    config.root = str(tmp_path / "linked")
    assert len(build_splits(config, "detection").train) == 2


@pytest.mark.parametrize("what", ["image", "annotation"])
def test_voc(tmp_path: Path, private: Path, what: str) -> None:
    xml = voc_xml(voc_object("cat", 1, 1, 20, 30))
    root = write_voc(tmp_path / "data", {"train": {"a": xml, "b": xml}, "val": {"c": xml}})
    file = root / "JPEGImages" / "b.jpg" if what == "image" else root / "Annotations" / "b.xml"
    target = private
    if what == "annotation":
        target = tmp_path / "private.xml"
        target.write_text(xml)
        (root / "JPEGImages" / "b.jpg").write_bytes(private.read_bytes())
    file.unlink()
    file.symlink_to(target)
    check(VocConfig(root=str(root)), "detection", private, file.name)


def test_lists_that_lead_upwards(tmp_path: Path, private: Path) -> None:
    xml = voc_xml(voc_object("cat", 1, 1, 20, 30))
    root = write_voc(tmp_path / "data", {"train": {"a": xml}, "val": {"c": xml}})
    (root / "ImageSets" / "Main" / "train.txt").write_text("a\n../../private\n")
    with pytest.raises(InputError, match=rf"private\.jpg: .*{OUTSIDE}"):
        build_splits(VocConfig(root=str(root)), "detection")


@pytest.mark.parametrize(("config", "kind"), [(FolderConfig, "classification"), (ImageNetConfig, "classification")])
@pytest.mark.parametrize("what", ["file", "class", "split"])
def test_folders_of_classes(tmp_path: Path, private: Path, config: Any, kind: str, what: str) -> None:
    names = [f"n{number:08d}" for number in range(1000 if config is ImageNetConfig else 2)]
    root = tmp_path / "data"
    for name in names:
        (root / "train" / name).mkdir(parents=True)
        (root / "train" / name / "a.jpg").write_bytes(jpeg(picture(4, 4)))
    (root / "val" / names[0]).mkdir(parents=True)
    (root / "val" / names[0] / "a.jpg").write_bytes(jpeg(picture(4, 4)))
    (tmp_path / "private").mkdir()
    (tmp_path / "private" / "p.jpg").symlink_to(private)
    link, target = {
        "file": (root / "val" / names[0] / "b.jpg", private),
        "class": (root / "val" / names[1], tmp_path / "private"),
        "split": (root / "val", tmp_path / "elsewhere"),
    }[what]
    if what == "split":
        (root / "val").rename(target)
    link.symlink_to(target)
    with pytest.raises(InputError, match=rf"{link.name}: {OUTSIDE}"):
        build_splits(config(root=str(root)), kind)
    val = build_splits(allowed(config(root=str(root))), kind).val
    assert len(val) == (1 if what == "split" else 2)


def test_flat_validation_images(tmp_path: Path, private: Path) -> None:
    root = tmp_path / "data"
    for number in range(1000):
        (root / "train" / f"n{number:08d}").mkdir(parents=True)
        (root / "train" / f"n{number:08d}" / "a.jpg").write_bytes(b"")
    (root / "val").mkdir()
    (root / "val" / "ILSVRC2012_val_00000001.JPEG").symlink_to(private)
    (root / "LOC_val_solution.csv").write_text("ImageId,PredictionString\nILSVRC2012_val_00000001,n00000003 1 2 3 4\n")
    with pytest.raises(InputError, match=OUTSIDE):
        build_splits(ImageNetConfig(root=str(root)), "classification")


@pytest.mark.parametrize("what", ["images", "masks"])
def test_masks(tmp_path: Path, private: Path, what: str) -> None:
    import cv2
    import numpy as np

    root = tmp_path / "data"
    for folder, name, content in (
        ("images", "a.jpg", jpeg(picture(40, 60))),
        ("masks", "a.png", cv2.imencode(".png", np.zeros((40, 60), np.uint8))[1].tobytes()),
    ):
        for split in ("train", "val"):
            (root / folder / split).mkdir(parents=True)
            (root / folder / split / name).write_bytes(content)
    file = next((root / what / "train").iterdir())
    file.rename(tmp_path / file.name)
    file.symlink_to(tmp_path / file.name)
    config = MasksConfig(root=str(root), classes=["x"])
    with pytest.raises(InputError, match=rf"{file.name}: {OUTSIDE}"):
        build_splits(config, "segmentation")
    assert len(build_splits(allowed(config), "segmentation").train) == 1


def test_a_folder_that_holds_itself(tmp_path: Path) -> None:
    for split in ("train", "val"):
        (tmp_path / split / "a").mkdir(parents=True)
        (tmp_path / split / "a" / "0.jpg").write_bytes(jpeg(picture(4, 4)))
    (tmp_path / "train" / "a" / "deep").mkdir()
    for target in (".", "..", "../../train", "deep/.."):
        link = tmp_path / "train" / "a" / "link"
        link.symlink_to(target)
        with pytest.raises(InputError, match="link: is a link to a folder that it lies in; remove the link"):
            build_splits(FolderConfig(root=str(tmp_path)), "classification")
        link.unlink()
    (tmp_path / "train" / "a" / "deep" / "up").symlink_to("..")
    with pytest.raises(InputError, match="is a link to a folder that it lies in; remove the link"):
        build_splits(FolderConfig(root=str(tmp_path)), "classification")


@pytest.mark.parametrize("mode", ["pack", "inspect", "train"])
def test_through_the_command_line(
    tmp_path: Path, private: Path, mode: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    coco(tmp_path / "data", "../../private.jpg")
    out = tmp_path / "out"
    words = [f"mode={mode}", "task=detection", "data=coco", f"data.root={tmp_path / 'data'}", f"run_dir={out}"]
    code = trident(monkeypatch, *words)
    said = capsys.readouterr()
    assert code == (1 if mode == "inspect" else 2)
    if mode == "inspect":
        assert "file outside data.root" in (out / "inspect.html").read_text()
        assert json.loads((out / "inspect.json").read_text())["splits"]["train"]["unreadable"] == 1
    else:
        assert "private.jpg: this file, listed in" in said.err
        assert not list(out.glob("*.tar"))
