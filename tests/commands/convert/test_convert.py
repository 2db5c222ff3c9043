"""mode=convert: what is written is read back with the same boxes and masks, and nothing is overwritten."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from tasks.data.build import build_splits
from tasks.data.config import CocoConfig, MasksConfig, YoloConfig
from tests.data.builders import box_entry, image_entry, jpeg, picture, tree, write_coco_split
from tests.e2e.command import trident

if TYPE_CHECKING:
    from pathlib import Path

SQUARE = [[10.0, 5.0, 30.0, 5.0, 30.0, 25.0, 10.0, 25.0]]


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    rows = [
        box_entry(1, 1, [10.25, 5.5, 20.125, 10.0], segmentation=SQUARE),
        box_entry(2, 2, [0, 0, 60, 40], category=2, segmentation=SQUARE),
        box_entry(3, 2, [5, 5, 20, 20], category=90, iscrowd=1, segmentation=SQUARE),
    ]
    for split in ("train2017", "val2017"):
        write_coco_split(tmp_path / "set", [image_entry(number) for number in (1, 2, 3)], rows, split=split)
    return tmp_path / "set"


def convert(patch: pytest.MonkeyPatch, root: Path, output: Path, *words: str) -> int:
    return trident(patch, "mode=convert", f"data.root={root}", f"convert.output={output}", *words)


def test_boxes(tmp_path: Path, coco: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    before = build_splits(CocoConfig(root=str(coco)), "detection").val
    for target in ("coco", "yolo"):
        output = tmp_path / f"my {target} ü"
        words = ("task=detection", "data=coco", f"convert.format={target}")
        assert convert(monkeypatch, coco, output, *words) == 0
        written = tree(output)
        assert convert(monkeypatch, coco, output, *words) == 2
        assert "is not empty, and nothing is overwritten" in capsys.readouterr().err
        assert tree(output) == written
        config = CocoConfig(root=str(output)) if target == "coco" else YoloConfig(root=str(output))
        after = build_splits(config, "detection").val
        assert after.labels.names == ("dog", "cat", "owl")
        for place in range(3):
            old, new = before[place], after[place]
            kept = slice(None) if target == "coco" else ~old.crowd
            np.testing.assert_allclose(new.boxes_xyxy_px, old.boxes_xyxy_px[kept], atol=1e-5)
            assert new.labels.tolist() == old.labels[kept].tolist()
            assert after.path(place).read_bytes() == before.path(place).read_bytes()
    assert not list(tmp_path.glob("*.part"))
    lines = (tmp_path / "my yolo ü" / "labels" / "val" / "0001.txt").read_text().split()
    assert [float(word) for word in lines] == pytest.approx([1, 20.3125 / 60, 10.5 / 40, 20.125 / 60, 10 / 40])


def test_outlines_and_masks(tmp_path: Path, coco: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = build_splits(CocoConfig(root=str(coco)), "segmentation").val
    for target in ("coco", "yolo"):
        output = tmp_path / target
        assert convert(monkeypatch, coco, output, "task=segmentation", "data=coco", f"convert.format={target}") == 0
        config = CocoConfig(root=str(output)) if target == "coco" else YoloConfig(root=str(output))
        after = build_splits(config, "segmentation").val
        for place in range(3):
            mask = before[place].mask
            assert mask is not None
            if target == "yolo" and place == 1:
                continue  # its crowd is void, which YOLO has not
            np.testing.assert_array_equal(after[place].mask, mask)
    rows = json.loads((tmp_path / "coco" / "annotations" / "instances_val.json").read_text())["annotations"]
    assert next((row["segmentation"], row["bbox"], row["area"]) for row in rows) == (SQUARE, [10, 5, 20, 20], 400)


def test_mask_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mask = np.zeros((40, 60), np.uint8)
    mask[5:25, 10:30] = 1
    mask[30:, 40:] = 2
    mask[:2] = 255
    for split in ("train", "val"):
        for kind, contents in (("images", jpeg(picture(40, 60))), ("masks", cv2.imencode(".png", mask)[1].tobytes())):
            (tmp_path / "set" / kind / split).mkdir(parents=True)
            (tmp_path / "set" / kind / split / f"a.{'jpg' if kind == 'images' else 'png'}").write_bytes(contents)
    words = ("task=segmentation", "data=masks", "data.classes=[background,road,sky]")
    assert build_splits(
        MasksConfig(root=str(tmp_path / "set"), classes=["background", "road", "sky"]), "segmentation"
    ).labels.num_classes == 3  # fmt: skip
    for target in ("coco", "yolo"):
        assert convert(monkeypatch, tmp_path / "set", tmp_path / target, *words, f"convert.format={target}") == 0
    after = build_splits(CocoConfig(root=str(tmp_path / "coco")), "segmentation").val
    np.testing.assert_array_equal(after[0].mask, mask)
    lossy = build_splits(YoloConfig(root=str(tmp_path / "yolo")), "segmentation").val
    same = lossy[0].mask == np.where(mask == 255, 0, mask)
    assert same.mean() > 0.95  # contours run through the outermost pixels


def test_goes_on_and_refuses_another(
    tmp_path: Path, coco: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    output, words = tmp_path / "out", ("task=detection", "data=coco")
    with monkeypatch.context() as patch:
        from tasks.commands.convert import job

        def killed(*_: object) -> None:
            raise KeyboardInterrupt

        patch.setattr(job._Split, "annotate", killed)
        convert(patch, coco, output, *words)
    part = tmp_path / "out.part"
    assert (part / "train" / "0001.jpg").is_file()
    assert not output.exists()
    assert convert(monkeypatch, coco, output, *words, "convert.format=yolo") == 2
    assert "holds the beginning of another conversion; remove it" in capsys.readouterr().err
    assert convert(monkeypatch, coco, output, *words) == 0
    assert sorted(path.name for path in output.iterdir()) == ["annotations", "train", "val"]


def test_what_cannot_be_converted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert trident(monkeypatch, "mode=convert", "task=detection", "data=coco", "data.root=x") == 2
    assert "mode=convert: give convert.output=FOLDER" in capsys.readouterr().err
    for name in ("train", "val"):
        (tmp_path / name / "cat").mkdir(parents=True)
        (tmp_path / name / "cat" / "a.jpg").write_bytes(jpeg(picture(9, 9)))
    assert convert(monkeypatch, tmp_path, tmp_path / "out", "task=classification", "data=folder") == 2
    assert "mode=convert task=classification: writes boxes or masks" in capsys.readouterr().err
