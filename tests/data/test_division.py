"""A data set divided by `data.split`: what stays together, what is written, and what is read again."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

import numpy as np
import pytest

from backbone.errors import InputError
from tasks.data.build import build_splits
from tasks.data.config import CocoConfig, FolderConfig, MasksConfig, VocConfig
from tasks.data.division import DivisionFiles, chosen_groups
from tests.data.builders import box_entry, image_entry, jpeg, picture, voc_object, voc_xml, write_coco_split

if TYPE_CHECKING:
    from pathlib import Path

OBJECT = voc_xml(voc_object("dog", 2, 2, 9, 9))


def write_flat(root: Path, names: list[str]) -> Path:
    """Images that all look different, with their XML files beside them."""
    root.mkdir()
    for seed, name in enumerate(names):
        (root / f"{name}.jpg").write_bytes(jpeg(picture(40, 60, seed)))
        (root / f"{name}.xml").write_text(OBJECT)
    return root


def names_of(split: object) -> set[str]:
    return {split.path(place).name for place in range(len(split))}  # type: ignore[attr-defined, arg-type]


def test_flat_voc_is_divided_and_the_file_is_used_again(tmp_path: Path) -> None:
    root = write_flat(tmp_path / "flat", [f"im{number}" for number in range(10)])
    with pytest.raises(InputError, match=r"flat: has no split train, neither .*; data\.split=0\.2 takes a fifth"):
        build_splits(VocConfig(root=str(root)), "detection")
    config = VocConfig(root=str(root), split=0.2)
    file = tmp_path / "run" / "split.json"
    splits = build_splits(config, "detection", files=DivisionFiles([file], file))
    assert (len(splits.train), len(splits.val), splits.test) == (8, 2, None)
    assert names_of(splits.train) | names_of(splits.val) == {f"im{number}.jpg" for number in range(10)}
    written = json.loads(file.read_text())
    assert set(written["val"]) == names_of(splits.val)
    assert names_of(build_splits(config, "detection", need_train=False).val) == names_of(splits.val)
    written["train"], written["val"] = [*written["val"], *written["train"][2:]], written["train"][:2]
    file.write_text(json.dumps(written))
    again = build_splits(config, "detection", files=DivisionFiles([file], file))
    assert names_of(again.val) == set(written["val"])
    assert again.val[0].boxes_xyxy_px.tolist() == [[1, 1, 9, 9]]
    assert len(again.val.ground_truth()["annotations"]) == 2  # type: ignore[attr-defined]
    (root / "im0.jpg").unlink()
    with pytest.raises(InputError, match=r"split\.json: is of other images: .* has no im0\.jpg; remove the file"):
        build_splits(config, "detection", files=DivisionFiles([file], file))
    with pytest.raises(InputError, match=r"split\.json: is the division of data\.split=0\.2 data\.split_seed=0, and"):
        build_splits(VocConfig(root=str(root), split=0.3), "detection", files=DivisionFiles([file]))


def test_variations_and_images_that_look_alike_stay_together(tmp_path: Path) -> None:
    root = write_flat(tmp_path / "flat", ["a_jpg.rf.11", "a_jpg.rf.22", "b", "c"])
    (root / "c.jpg").write_bytes(jpeg(picture(40, 60, 2)))  # as b
    for seed in range(8):
        splits = build_splits(VocConfig(root=str(root), split=0.5, split_seed=seed), "detection")
        assert names_of(splits.val) in ({"a_jpg.rf.11.jpg", "a_jpg.rf.22.jpg"}, {"b.jpg", "c.jpg"})


def of_classes(*classes: int) -> np.ndarray:
    """One image a group, of one class each."""
    return np.eye(max(classes) + 1, dtype=np.int64)[list(classes)]


def test_every_class_is_divided_and_the_share_is_met() -> None:
    chosen = chosen_groups(of_classes(*[0] * 50, *[1] * 10, 2), [1] * 61, 0.2, 0)
    assert (sum(n < 50 for n in chosen), sum(50 <= n < 60 for n in chosen), 60 in chosen) == (10, 2, False)
    assert chosen_groups(np.array([[9], [1]]), [9, 1], 0.01, 0) == [1]
    assert chosen_groups(of_classes(0, 0), [1, 1], 0.99, 0) in ([0], [1])
    many = of_classes(*[0] * 50)
    assert chosen_groups(many, [1] * 50, 0.2, 0) != chosen_groups(many, [1] * 50, 0.2, 1)
    assert len(chosen_groups(np.zeros((50, 0), np.int64), [1] * 50, 0.2, 0)) == 10


def test_rare_classes_of_images_with_several_are_on_both_sides() -> None:
    """Classes as frequent as 1 / rank, five images of the rarest; by chance some are on one side only."""
    random = np.random.default_rng(0)
    counts = (random.random((400, 30)) < 1 / np.arange(1, 31)).astype(np.int64)
    counts[:, -1] = [1] * 5 + [0] * 395
    for seed in range(3):
        chosen = chosen_groups(counts, [1] * 400, 0.2, seed)
        assert abs(len(chosen) - 80) <= 8
        shares = counts[chosen].sum(axis=0) / counts.sum(axis=0)
        assert shares.min() > 0
        assert shares.max() < 1
        assert np.abs(shares - 0.2).mean() < 0.02  # by chance .06
    two = chosen_groups(of_classes(*[0] * 40, 1, 1, 2), [1] * 43, 0.1, 0)
    assert sum(n in (40, 41) for n in two) == 1
    assert 42 not in two


def test_groups_stay_whole_where_classes_are_divided() -> None:
    """Ten groups of six images and two of one; the second class is in one of the large ones and in the small ones."""
    counts = np.array([[6, 0]] * 9 + [[6, 6], [0, 1], [0, 1]])
    chosen = chosen_groups(counts, [6] * 10 + [1, 1], 0.2, 0)
    assert 9 not in chosen
    assert {10, 11} & set(chosen)
    assert 10 <= sum(6 if group < 10 else 1 for group in chosen) <= 14


def test_folders_masks_and_coco_without_splits(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    import cv2

    for number in range(4):
        for name in ("cat", "dog"):
            path = tmp_path / "classes" / name / f"{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(jpeg(picture(20, 20, number + 10 * (name == "cat"))))
        for kind in ("images", "masks"):
            (tmp_path / "seg" / kind).mkdir(parents=True, exist_ok=True)
        (tmp_path / "seg" / "images" / f"{number}.jpg").write_bytes(jpeg(picture(20, 20, number)))
        mask = np.full((20, 20), number // 2, np.uint8)
        mask[0] = 255
        cv2.imwrite(str(tmp_path / "seg" / "masks" / f"{number}.png"), mask)
    folders = build_splits(FolderConfig(root=str(tmp_path / "classes"), split=0.25), "classification")
    assert sorted(folders.val.classes().tolist()) == [0, 1]  # type: ignore[attr-defined]
    masks = build_splits(MasksConfig(root=str(tmp_path / "seg"), classes=["a", "b"], split=0.5), "segmentation")
    assert sorted(int(masks.val[place].mask[1, 1]) for place in range(2)) == [0, 1]  # type: ignore[index]
    assert masks.val.mask_path(0).stem == masks.val.path(0).stem  # type: ignore[attr-defined]
    coco = tmp_path / "coco"
    images = [image_entry(n) | {"file_name": f"{n}.jpg"} for n in range(1, 5)]
    file = write_coco_split(coco, images, [box_entry(1, 2, [1, 1, 9, 9])])
    for number in range(1, 5):
        (coco / "train2017" / f"{number}.jpg").write_bytes(jpeg(picture(40, 60, number)))
    (coco / "train2017").rename(coco / "images")
    file.rename(coco / "result.json")
    caplog.set_level(logging.INFO)
    splits = build_splits(CocoConfig(root=str(coco), split=0.25), "detection")
    assert (len(splits.train), len(splits.val)) == (3, 1)
    assert len(splits.train.ground_truth()["annotations"]) == 1  # type: ignore[attr-defined]
    assert "data.split: no image to validate has" in caplog.text


def test_a_split_that_is_there_is_kept(tmp_path: Path) -> None:
    for split in ("train", "validation", "test"):
        write_flat(tmp_path / split, ["a"])
    splits = build_splits(VocConfig(root=str(tmp_path)), "detection")
    assert [len(one) for one in (splits.train, splits.val, splits.test)] == [1, 1, 1]  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"data\.split=0\.2: .* has the split validation already; leave data\.split"):
        build_splits(VocConfig(root=str(tmp_path), split=0.2), "detection")
    with pytest.raises(InputError, match=r"data\.split=2: must be a share above 0 and below 1, such as 0\.2"):
        VocConfig(split=2.0)


def test_images_that_all_belong_together_cannot_be_divided(tmp_path: Path) -> None:
    root = write_flat(tmp_path / "flat", ["a_jpg.rf.1", "a_jpg.rf.2"])
    with pytest.raises(InputError, match=r"data\.split=0\.2: .*flat has 2 images, which all belong together"):
        build_splits(VocConfig(root=str(root), split=0.2), "detection")


def test_a_file_that_is_no_division(tmp_path: Path) -> None:
    root = write_flat(tmp_path / "flat", ["a", "b"])
    file = tmp_path / "split.json"
    for text in ("[]", "{}", "x", '{"split": 0.5, "seed": 0, "train": [1], "val": []}'):
        file.write_text(text)
        with pytest.raises(InputError, match=r"split\.json: holds no division of a data set; remove the file"):
            build_splits(VocConfig(root=str(root), split=0.5, split_file=str(file)), "detection")
    file.write_text(json.dumps({"split": 0.5, "seed": 0, "train": ["a.jpg", "b.jpg"], "val": []}))
    with pytest.raises(InputError, match=r"split\.json: lists an image twice, or none of a split"):
        build_splits(VocConfig(root=str(root), split=0.5, split_file=str(file)), "detection")
