"""Scenes on disk, in the layouts of real data sets, so that the same readers read them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import simplejpeg

from tasks.data.labels import LabelMap
from tasks.data.shapes.outlines import NAMES

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from tasks.data.shapes.scene import Scene

JPEG_QUALITY = 92


def write_coco(root: Path, split: str, scenes: Iterable[Scene]) -> None:
    """`annotations/instances_{split}.json` and `{split}/*.jpg`, ids from 1."""
    folder = root / split
    folder.mkdir(parents=True)
    (root / "annotations").mkdir(exist_ok=True)
    labels = LabelMap.numbered(NAMES)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id, scene in enumerate(scenes, start=1):
        name = f"{image_id:06d}.jpg"
        (folder / name).write_bytes(simplejpeg.encode_jpeg(scene.image, quality=JPEG_QUALITY))
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
