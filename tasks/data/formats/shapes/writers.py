"""Scenes on disk, in the layouts of real data sets, so that the same readers read them."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING, Any

import simplejpeg

from tasks.data.formats.shapes.outlines import NAMES
from tasks.data.labels import LabelMap
from tasks.drawing.masks import write_palette_png

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from tasks.data.formats.shapes.scene import Scene

JPEG_QUALITY = 92
ALL_LABELS = "all"
"""Scenes with boxes, masks and classes."""
MASKS = "SegmentationClass"
CLASSES = "classes"
MASK_NAMES = ("background", *NAMES)
"""Names of the values of a mask."""


def write_coco(root: Path, split: str, scenes: Iterable[Scene], *, first_id: int = 1) -> None:
    """`annotations/instances_{split}.json` and `{split}/*.jpg`."""
    folder = root / split
    folder.mkdir(parents=True)
    (root / "annotations").mkdir(exist_ok=True)
    labels = LabelMap.numbered(NAMES)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id, scene in enumerate(scenes, start=first_id):
        name = f"{image_id:06d}.jpg"
        _write_jpeg(folder / name, scene)
        height, width = scene.image.shape[:2]
        images.append({"id": image_id, "file_name": name, "height": height, "width": width})
        for box, label, area in zip(
            scene.boxes_xyxy_px.tolist(), scene.labels.tolist(), scene.areas.tolist(), strict=True
        ):
            left, top, right, bottom = box
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": labels.to_id(label),
                    "bbox": [left, top, right - left, bottom - top],
                    "area": area,
                    "iscrowd": 0,
                }
            )
    categories = [{"id": number, "name": name} for number, name in zip(labels.ids, labels.names, strict=True)]
    contents = {"images": images, "annotations": annotations, "categories": categories}
    (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(contents), encoding="utf-8")


def write_folders(root: Path, split: str, scenes: Iterable[Scene]) -> None:
    """`{split}/{class}/*.jpg`, as ImageNet has it."""
    for number, scene in enumerate(scenes, start=1):
        assert scene.class_index is not None
        folder = root / split / NAMES[scene.class_index]
        folder.mkdir(parents=True, exist_ok=True)
        _write_jpeg(folder / f"{number:06d}.jpg", scene)


def write_voc(root: Path, split: str, scenes: Iterable[Scene]) -> None:
    """`JPEGImages`, `SegmentationClass` and `ImageSets/Segmentation/{split}.txt`, as PASCAL VOC has it.

    The values of the masks are indices of `MASK_NAMES`, 255 the edges of objects.
    """
    folders = [root / name for name in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation")]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    images, masks, lists = folders
    names = []
    for number, scene in enumerate(scenes, start=1):
        names.append(f"{split}_{number:06d}")
        _write_jpeg(images / f"{names[-1]}.jpg", scene)
        write_palette_png(scene.mask, masks / f"{names[-1]}.png")
    (lists / f"{split}.txt").write_text("".join(f"{name}\n" for name in names), encoding="utf-8")


def write_all(root: Path, split: str, scenes: Iterable[Scene]) -> None:
    """Write as `write_coco`, ids from 0; masks as `SegmentationClass/{split}/*.png`; the classes of scenes with one
    in `classes/{split}.csv`.
    """
    masks, lists = root / MASKS / split, root / CLASSES
    masks.mkdir(parents=True)
    lists.mkdir(exist_ok=True)
    with (lists / f"{split}.csv").open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["image", "class"])

        def noted() -> Iterator[Scene]:
            for number, scene in enumerate(scenes):
                write_palette_png(scene.mask, masks / f"{number:06d}.png")
                if scene.class_index is not None:
                    rows.writerow([f"{number:06d}.jpg", NAMES[scene.class_index]])
                yield scene

        write_coco(root, split, noted(), first_id=0)


def _write_jpeg(path: Path, scene: Scene) -> None:
    path.write_bytes(simplejpeg.encode_jpeg(scene.image, quality=JPEG_QUALITY))
