"""The built-in scenes: their truth against their pixels, and how they get to disk."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from backbone.errors import InputError
from tasks.data.config import ShapesConfig
from tasks.data.formats.shapes import scene as scene_module
from tasks.data.formats.shapes import splits as splits_module
from tasks.data.formats.shapes.outlines import NAMES, OUTLINES
from tasks.data.formats.shapes.scene import MAX_OBJECTS, MIN_VISIBLE, SCALES, Scene, draw_scene
from tasks.data.formats.shapes.splits import build_splits, ensure_scenes, scenes_folder

if TYPE_CHECKING:
    from pathlib import Path

SIZE = 128


def scene(seed: int, size: int = SIZE) -> Scene:
    return draw_scene(size, np.random.default_rng(seed))


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [scene(seed) for seed in range(60)]


def small(root: Path | None, **values: int) -> ShapesConfig:
    counts = {"train_scenes": 3, "val_scenes": 2, "scene_size": 64} | values
    return ShapesConfig(root=None if root is None else str(root), **counts)


def test_same_seed_same_scene(scenes: list[Scene]) -> None:
    again = scene(7)
    np.testing.assert_array_equal(again.image, scenes[7].image)
    np.testing.assert_array_equal(again.mask, scenes[7].mask)
    assert (again.image != scenes[8].image).any()


def test_types_and_ranges(scenes: list[Scene]) -> None:
    for item in scenes:
        count = len(item.labels)
        assert (item.image.shape, item.image.dtype) == ((SIZE, SIZE, 3), np.uint8)
        assert (item.mask.shape, item.mask.dtype) == ((SIZE, SIZE), np.uint8)
        assert (item.boxes_xyxy_px.shape, item.boxes_xyxy_px.dtype) == ((count, 4), np.float32)
        assert count <= MAX_OBJECTS
        assert set(np.unique(item.mask)) <= {0, 255, *(item.labels + 1)}
        assert (item.boxes_xyxy_px >= 0).all()
        assert (item.boxes_xyxy_px <= SIZE).all()
        sides = item.boxes_xyxy_px[:, 2:] - item.boxes_xyxy_px[:, :2]
        assert (sides.max(axis=1, initial=0) <= SCALES[1] * SIZE + 2).all()
        assert (sides > 0).all()


def test_all_classes_and_empty_scenes_occur(scenes: list[Scene]) -> None:
    assert {label for item in scenes for label in item.labels.tolist()} == set(range(len(NAMES)))
    empty = [item for item in scenes if len(item.labels) == 0]
    assert empty
    assert all(item.class_index is None and not item.mask.any() for item in empty)


def test_boxes_are_tight_around_objects_that_nothing_hides(scenes: list[Scene]) -> None:
    alone = [item for item in scenes if len(item.labels) == 1]
    assert alone
    for item in alone:
        rows, columns = np.nonzero(item.mask)  # the void edge reaches one pixel outwards, so the box one pixel inwards
        edges = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        np.testing.assert_allclose(item.boxes_xyxy_px[0], edges, atol=1)
        assert item.class_index == item.labels[0]


def test_objects_differ_from_what_is_around_them(scenes: list[Scene]) -> None:
    for item in scenes:
        inside = (item.mask > 0) & (item.mask < 255)
        if inside.any() and (item.mask == 0).any():
            assert np.linalg.norm(item.image[inside].mean(axis=0) - item.image[item.mask == 0].mean(axis=0)) > 10


def test_the_last_object_hides_the_others_but_leaves_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Redrawn from the placed objects, one pixel mask after the other."""
    drawn: list[scene_module.Placed] = []
    monkeypatch.setattr(scene_module, "_paint", lambda canvas, item, rng: drawn.append(item))
    hidden = 0
    for seed in range(30):
        drawn.clear()
        item = scene(seed)
        owner = np.full((SIZE, SIZE), -1)
        for number, placed in enumerate(drawn):
            owner[placed.region][placed.solid] = number
        visible = [int((owner == number).sum()) for number in range(len(drawn))]
        assert item.areas.tolist() == visible
        for number, placed in enumerate(drawn):
            assert visible[number] >= MIN_VISIBLE * placed.full_area
            hidden += visible[number] < placed.solid.sum()
        if drawn:
            by_class = [0] * len(NAMES)
            for number, placed in enumerate(drawn):
                by_class[placed.label] += visible[number]
            assert item.class_index is not None
            assert by_class[item.class_index] == max(by_class)
    assert hidden > 0


@pytest.mark.parametrize("name", NAMES)
def test_outlines_are_the_shapes_they_are_called(name: str) -> None:
    """Areas of the unit shapes, by geometry; proportions are read from the outlines."""
    radii = [np.linalg.norm(curve, axis=1) for curve in OUTLINES[name]]
    inner, arm = radii[-1].min(), np.abs(OUTLINES[name][0]).min()
    expected = {
        "circle": np.pi,
        "cross": 2 * 2 * 2 * arm - (2 * arm) ** 2,
        "ring": np.pi * (1 - inner**2),
        "square": 2.0,
        "star": 10 * 0.5 * inner * np.sin(np.pi / 5),
        "triangle": 0.75 * np.sqrt(3),
    }[name]
    assert max(radii[0]) == pytest.approx(1, abs=0.1)
    areas = [abs(cv2.contourArea(curve.astype(np.float32))) for curve in OUTLINES[name]]
    assert areas[0] - sum(areas[1:]) == pytest.approx(expected, rel=0.02)


def test_written_and_read_by_the_coco_reader(tmp_path: Path) -> None:
    config = small(tmp_path / "new" / "shapes", train_scenes=12)
    splits = build_splits(config, "detection")
    assert (len(splits.train), len(splits.val), splits.test) == (12, 2, None)
    assert splits.labels.names == NAMES
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["shapes"]
    for index in range(12):
        expected = draw_scene(64, np.random.default_rng([0, 0, index]))
        sample = splits.train[index]
        np.testing.assert_array_equal(sample.boxes_xyxy_px, expected.boxes_xyxy_px)
        np.testing.assert_array_equal(sample.labels, expected.labels)
        assert np.abs(sample.image.astype(int) - expected.image).mean() < 6
    areas = [row["area"] for row in splits.train.ground_truth()["annotations"]]
    assert areas[: len(splits.train[0].labels)] == draw_scene(64, np.random.default_rng([0, 0, 0])).areas.tolist()


def test_splits_and_seeds_give_other_scenes(tmp_path: Path) -> None:
    first = build_splits(small(tmp_path / "a"), "detection")
    second = build_splits(small(tmp_path / "b", seed=1), "detection")
    assert (first.train[0].image != first.val[0].image).any()
    assert (first.train[0].image != second.train[0].image).any()


def test_drawn_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = small(tmp_path / "shapes")
    build_splits(config, "detection")
    monkeypatch.setattr(splits_module, "draw_scene", None)
    assert len(build_splits(config, "detection").train) == 3


def test_an_existing_empty_folder_is_filled(tmp_path: Path) -> None:
    assert len(build_splits(small(tmp_path), "detection").val) == 2


def test_folder_of_other_scenes_is_refused(tmp_path: Path) -> None:
    build_splits(small(tmp_path / "shapes"), "detection")
    with pytest.raises(InputError, match=r"shapes: holds scenes drawn with .*'seed': 0.*, not .*'seed': 1.*; name"):
        build_splits(small(tmp_path / "shapes", seed=1), "detection")


def test_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    for root in (tmp_path, tmp_path / "thesis.txt"):
        with pytest.raises(InputError, match=r"holds no scenes but is not empty; name an empty or new folder"):
            build_splits(small(root), "detection")
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"shapes: cannot be written \(.*\); name another folder by data\.root="):
        build_splits(small(tmp_path / "file" / "shapes"), "detection")


def test_an_interrupted_run_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(splits_module, "draw_scene", interrupt)
    with pytest.raises(KeyboardInterrupt):
        build_splits(small(tmp_path / "shapes"), "detection")
    assert list(tmp_path.iterdir()) == []


def test_another_process_may_be_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config, root = small(tmp_path / "shapes"), tmp_path / "shapes"
    draw_all = splits_module._draw_all

    def slow(folder: Path, values: ShapesConfig, kind: str) -> None:
        monkeypatch.setattr(splits_module, "_draw_all", draw_all)
        ensure_scenes(root, values, kind)
        (root / "train" / "marker").write_text("first")
        draw_all(folder, values, kind)

    monkeypatch.setattr(splits_module, "_draw_all", slow)
    build_splits(config, "detection")
    assert (root / "train" / "marker").exists()
    assert list(tmp_path.iterdir()) == [root]


def test_a_move_that_fails_for_another_reason_is_not_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError("no")

    monkeypatch.setattr(type(tmp_path), "rename", refuse)
    with pytest.raises(PermissionError, match="no"):
        build_splits(small(tmp_path / "shapes"), "detection")


def test_cache_folder_depends_on_what_is_drawn(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    first = scenes_folder(small(None), "detection")
    assert first == scenes_folder(small(None, batch_size=4), "detection")
    others = [small(None, **{key: 70}) for key in ("seed", "scene_size", "val_scenes")]
    assert len({first, *(scenes_folder(other, "detection") for other in others)}) == 4
    assert len(build_splits(small(None), "detection").train) == 3
    record = json.loads((first / "shapes.json").read_text())
    assert record["train_scenes"] == 3
    assert record["version"] == splits_module.VERSION
    monkeypatch.setattr(splits_module, "VERSION", splits_module.VERSION + 1)
    assert scenes_folder(small(None), "detection") != first
