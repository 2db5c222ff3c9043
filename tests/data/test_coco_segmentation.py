"""COCO's outlines as masks. Oracles: squares drawn by hand, and pycocotools asked object by object."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from backbone.errors import InputError
from tasks.data.build import build_splits
from tasks.data.config import BadBoxes, CocoConfig
from tasks.data.formats.coco.masks import CocoSegmentation
from tasks.data.formats.coco.outlines import fault
from tasks.data.formats.voc.masks import VOC_CLASSES
from tests.data.builders import image_entry, write_coco_split

if TYPE_CHECKING:
    from pathlib import Path

CATEGORIES = [
    {"id": 72, "name": "tv"},
    {"id": 1, "name": "person"},
    {"id": 5, "name": "airplane"},
    {"id": 88, "name": "teddy bear"},
    {"id": 90, "name": "background"},
]
TV, PERSON, PLANE = 20, 15, 1
HEIGHT, WIDTH = 40, 60


def square(left: float, top: float, right: float, bottom: float) -> list[float]:
    return [left, top, right, top, right, bottom, left, bottom]


def entry(number: int, category: int, outline: Any, image: int = 1, **more: Any) -> dict[str, Any]:
    return {
        "id": number,
        "image_id": image,
        "category_id": category,
        "segmentation": outline,
        "bbox": [0, 0, 1, 1],
        "area": 100.0,
        **more,
    }


def runs(mask: np.ndarray) -> dict[str, Any]:
    """Run lengths of a mask, counted one by one along its columns."""
    counts, value = [0], 0
    for pixel in mask.T.ravel().tolist():
        if pixel != value:
            counts.append(0)
            value = pixel
        counts[-1] += 1
    return {"size": list(mask.shape), "counts": counts}


def read(root: Path, *annotations: dict[str, Any], images: int = 1, **options: Any) -> CocoSegmentation:
    entries = [image_entry(number + 1, HEIGHT, WIDTH) for number in range(images)]
    write_coco_split(root, entries, list(annotations), categories=CATEGORIES)
    return CocoSegmentation(root, "train2017", **options)


def test_squares_drawn_by_hand(tmp_path: Path) -> None:
    """A small one over a large one, whatever their order; what VOC does not know is background."""
    data = read(
        tmp_path,
        entry(1, 72, [square(12, 12, 18, 18)]),
        entry(2, 1, [square(10, 10, 30, 30), square(40, 0, 50, 5)]),
        entry(3, 88, [square(0, 0, 60, 40)]),
        entry(4, 90, [square(0, 0, 60, 40)]),
    )
    wanted = np.zeros((HEIGHT, WIDTH), np.uint8)
    wanted[10:30, 10:30] = wanted[:5, 40:50] = PERSON
    wanted[12:18, 12:18] = TV
    sample = data[0]
    np.testing.assert_array_equal(sample.mask, wanted)
    assert (sample.image.shape, sample.size, sample.image_id) == ((HEIGHT, WIDTH, 3), (HEIGHT, WIDTH), 0)
    assert data.labels.names == VOC_CLASSES


def test_crowds_are_void_below_single_objects(tmp_path: Path) -> None:
    crowd, single = np.zeros((HEIGHT, WIDTH), np.uint8), np.zeros((HEIGHT, WIDTH), np.uint8)
    crowd[5:10, 5:9] = 1
    single[:, :8] = 1
    packed = coco_mask.encode(np.asfortranarray(single))
    data = read(
        tmp_path,
        entry(1, 1, runs(crowd), iscrowd=1),
        entry(2, 5, {"size": [HEIGHT, WIDTH], "counts": packed["counts"].decode()}),
        entry(3, 88, runs(single), iscrowd=1),
    )
    wanted = np.zeros((HEIGHT, WIDTH), np.uint8)
    wanted[5:10, 5:9] = 255
    wanted[:, :8] = PLANE
    np.testing.assert_array_equal(data[0].mask, wanted)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_any_outlines_as_pycocotools_draws_them(tmp_path: Path) -> None:
    """Objects that do not overlap, drawn one at a time."""
    rng = np.random.default_rng(0)
    annotations, wanted = [], np.zeros((3, HEIGHT, WIDTH), np.uint8)
    categories, classes = (72, 1, 5), (TV, PERSON, PLANE)
    for number in range(24):
        image, column, kind = number % 3, number // 3, int(rng.integers(3))
        polygon = rng.uniform(0, 1, (7, 2)) * [7, 40] + [column * 7.5, 0]
        outline = [np.round(polygon, 2).ravel().tolist()]
        annotations.append(entry(number + 1, categories[kind], outline, image + 1))
        rles = coco_mask.frPyObjects(outline, HEIGHT, WIDTH)
        wanted[image][coco_mask.decode(rles)[..., 0] > 0] = classes[kind]
    data = read(tmp_path, *annotations, images=3)
    for index in range(3):
        np.testing.assert_array_equal(data[index].mask, wanted[index])
    assert len(np.unique(wanted)) == 4


def test_splits_leave_out_images_that_show_too_little(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    images = [image_entry(number, HEIGHT, WIDTH) for number in range(1, 6)]
    annotations = [
        entry(1, 1, [square(0, 0, 9, 9)], 2, area=600),
        entry(2, 5, [square(0, 0, 9, 9)], 2, area=400),
        entry(3, 1, [square(0, 0, 9, 9)], 3, area=999),
        entry(4, 1, runs(np.ones((HEIGHT, WIDTH), np.uint8)), 4, area=2000, iscrowd=1),
        entry(5, 88, [square(0, 0, 9, 9)], 5, area=2000),
    ]
    for split in ("train2017", "val2017"):
        write_coco_split(tmp_path, images, annotations, split=split, categories=CATEGORIES)
    with caplog.at_level(logging.INFO):
        splits = build_splits(CocoConfig(root=str(tmp_path)), "segmentation")
    assert (len(splits.train), len(splits.val), splits.test) == (1, 5, None)
    assert splits.train.path(0).name == "0002.jpg"
    assert splits.train[0].image_id == 0
    assert splits.labels.num_classes == 21
    assert "1 of 5 images have 1000 pixels of VOC's classes" in caplog.text
    assert len(build_splits(CocoConfig(root=str(tmp_path), min_class_pixels=0), "segmentation").train) == 5
    with pytest.raises(InputError, match=r"none of its 5 images has 3000 pixels of VOC's classes; .*min_class_pixels"):
        build_splits(CocoConfig(root=str(tmp_path), min_class_pixels=3000), "segmentation")
    with pytest.raises(InputError, match=r"data\.min_class_pixels=-1: must be at least 0"):
        CocoConfig(min_class_pixels=-1)
    with pytest.raises(IndexError, match=r"image 1: must be in 0 \.\. 0"):
        splits.train[1]


def test_images_without_objects(tmp_path: Path) -> None:
    data = read(tmp_path, images=2)
    assert len(data) == 2
    assert not data[1].mask.any()


@pytest.mark.parametrize(
    ("outline", "reason"),
    [
        ([], "has no outline"),
        (None, "has no outline"),
        ([[1, 2, 3, 4]], "has a polygon that is not x and y in turn, at least 6 numbers"),
        ([[1, 2, 3, 4, 5, 6, 7]], "has a polygon that is not x and y in turn"),
        ([[[1, 2], [3, 4], [5, "6"]]], "is neither a list of polygons nor run lengths"),
        ([["1", "2", "9", "2", "9", "9"]], "is neither a list of polygons nor run lengths"),
        ([[1, 2, 10**400, 2, 9, 9]], "is neither a list of polygons nor run lengths"),
        ([[1, 2, 2147483648, 2, 9, 9]], "has a corner that is further outside its image than 10 times its sides"),
        ([[1, 2, 9, -1e8, 9, 9]], "has a corner that is further outside its image than 10 times its sides"),
        ([[0, 0, 60, 40] * 40_000], "has a polygon 4800000 pixels long; 4000000 at most are drawn"),
        ([[1, 2, 3, 4, 5, float("nan")]], "has a polygon with numbers that are not finite"),
        ([["a"] * 6], "is neither a list of polygons nor run lengths"),
        ("polygon", "is neither a list of polygons nor run lengths"),
        ({"size": [HEIGHT, WIDTH], "counts": [5]}, "has run lengths that sum to 5, not to the 2400 pixels"),
        ({"size": [WIDTH, HEIGHT], "counts": [2400]}, r"has run lengths of size \[60, 40\], not \[40, 60\]"),
        (
            {"size": [HEIGHT, WIDTH], "counts": [2401, -1]},
            "has run lengths that are neither a list of whole numbers",
        ),
        ({"size": [HEIGHT, WIDTH]}, "has run lengths that are neither a list of whole numbers"),
    ],
)
def test_outlines_that_cannot_be_drawn(
    tmp_path: Path, outline: Any, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    good, bad = entry(3, 1, [square(0, 0, 9, 9)]), entry(4, 72, outline)
    message = rf"1 of 2 outlines cannot be drawn; the first, annotation 4 of 0001\.jpg, {reason}"
    with pytest.raises(
        InputError, match=message + ".*; correct the file or leave such objects out by data.bad_boxes=drop"
    ):
        read(tmp_path / "a", bad, good)
    data = read(tmp_path / "b", bad, good, bad_outlines=BadBoxes.drop)
    assert set(np.unique(data[0].mask)) == {0, PERSON}
    assert "they are background (data.bad_boxes=drop)" in caplog.text
    assert len(read(tmp_path / "c", entry(4, 88, outline))) == 1


@settings(max_examples=80, deadline=None)
@given(st.integers(1, 12), st.integers(1, 12), st.binary(min_size=144, max_size=144), st.data())
def test_strings_of_run_lengths(height: int, width: int, noise: bytes, data: st.DataObject) -> None:
    """pycocotools writes them; a string that is cut or has a foreign character is found out."""
    pixels = np.frombuffer(noise[: height * width], np.uint8).reshape(height, width) > data.draw(st.integers(0, 255))
    text = coco_mask.encode(np.asfortranarray(pixels.astype(np.uint8)))["counts"].decode()
    size = height, width
    assert fault({"size": list(size), "counts": text}, size) is None
    assert "run lengths" in str(fault({"size": list(size), "counts": text[:-1]}, size))
    assert "nor COCO's string of one" in str(fault({"size": list(size), "counts": text + "p"}, size))
    assert "nor COCO's string of one" in str(fault({"size": list(size), "counts": text + "`"}, size))


def test_own_categories(tmp_path: Path) -> None:
    """In the order of their ids, behind background; pairs of coordinates are polygons too."""
    corners = [[2, 2], [12, 2], [12, 12], [2, 12]]
    own = [{"id": 9, "name": "nut"}, {"id": 4, "name": "person"}, {"id": 0, "name": "Background"}]
    objects = [entry(1, 9, [corners]), entry(2, 4, [square(20, 20, 30, 30)]), entry(3, 9, [square(40, 2, 50, 12)])]
    write_coco_split(tmp_path, [image_entry(1)], objects, categories=own)
    data = CocoSegmentation(tmp_path, "train2017")
    assert data.labels.names == ("background", "person", "nut")
    mask = data[0].mask
    assert [int(mask[y, x]) for y, x in ((5, 5), (25, 25), (5, 45), (15, 15))] == [2, 1, 2, 0]
    assert CocoSegmentation(tmp_path, "train2017", classes=["nut"]).labels.names == ("background", "nut")
    with pytest.raises(
        InputError, match=r"data\.classes: bolt is no category of .*; those are nut, person, Background"
    ):
        CocoSegmentation(tmp_path, "train2017", classes=["bolt"])


def test_files_that_do_not_fit_together(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"annotation 9 is of image 5, which is not among the 1 images"):
        read(tmp_path / "a", entry(9, 1, [square(0, 0, 9, 9)], 5))
    without = entry(9, 1, [square(0, 0, 9, 9)])
    del without["area"]
    with pytest.raises(InputError, match=r"annotations\[0\] has no 'area'; add it or remove the entry"):
        read(tmp_path / "b", without, min_class_pixels=1)
    data = read(tmp_path / "c", images=2)
    (data.path(1)).write_bytes((data.path(0)).read_bytes()[:-40])
    with pytest.raises(InputError, match=r"0002\.jpg: broken JPEG"):
        data[1]
    (tmp_path / "c" / "train2017" / "0001.jpg").unlink()
    with pytest.raises(InputError, match=r"0001\.jpg: this image is listed in .*json but absent"):
        CocoSegmentation(tmp_path / "c", "train2017")
    with pytest.raises(InputError, match=r"instances_val2017\.json: there is no such file"):
        CocoSegmentation(tmp_path / "c", "val2017")
    with pytest.raises(InputError, match=r"data\.root is not set; give the folder of COCO's layout"):
        build_splits(CocoConfig(), "segmentation")
