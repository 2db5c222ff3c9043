"""Data sets of single files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.data.builders import box_entry, image_entry, jpeg, picture, write_coco_split

if TYPE_CHECKING:
    from pathlib import Path

IMAGES = 13


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    """13 training images with 0 to 3 boxes, some a crowd, and two images to validate; ids have gaps."""
    root = tmp_path / "coco"
    images = [image_entry(7 * number + 5, 40, 50 + number) for number in range(IMAGES)]
    boxes = [
        box_entry(100 + 4 * number + k, image["id"], [k + 0.5, 1, 9 + k, 8.25], category=(7, 2, 90)[k], iscrowd=k % 2)
        for number, image in enumerate(images)
        for k in range(number % 4)
        if k < 3
    ]
    write_coco_split(root, images, boxes[::-1])
    write_coco_split(root, [image_entry(1), image_entry(2)], [box_entry(1, 2, [0, 0, 9, 9])], split="val2017")
    return root


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of two classes with seven training images."""
    root = tmp_path / "pictures"
    for split, count in (("train", 7), ("val", 3)):
        for number in range(count):
            file = root / split / ("ant", "bee")[number % 2] / f"no {number}.b.jpg"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(jpeg(picture(20, 24, number)))
    return root
