"""Small data sets on disk, in whatever state a test needs."""

from __future__ import annotations

import json
import zipfile
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import simplejpeg

from tasks.data.sample import Sample

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

CATEGORIES = [{"id": 7, "name": "cat"}, {"id": 2, "name": "dog"}, {"id": 90, "name": "owl"}]
"""Out of order and with gaps: sorted by id they are dog, cat, owl."""


def picture(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """Smooth colours that differ in every corner, (H, W, 3) RGB."""
    corners = np.random.default_rng(seed).integers(0, 256, (3, 3, 3)).astype(np.uint8)
    return cv2.resize(corners, (width, height), interpolation=cv2.INTER_LINEAR)


def jpeg(image: NDArray[np.uint8]) -> bytes:
    data: bytes = simplejpeg.encode_jpeg(np.ascontiguousarray(image), quality=95, colorsubsampling="444")
    return data


def write_coco_split(
    root: Path,
    images: list[dict[str, Any]],
    annotations: list[dict[str, Any]],
    *,
    split: str = "train2017",
    categories: list[dict[str, Any]] | None = None,
) -> Path:
    """A split in COCO's layout with a JPEG for every image; gives back the annotation file."""
    (root / split).mkdir(parents=True)
    for image in images:
        (root / split / image["file_name"]).write_bytes(jpeg(picture(image["height"], image["width"])))
    file = root / "annotations" / f"instances_{split}.json"
    file.parent.mkdir(exist_ok=True)
    contents = {
        "images": images,
        "annotations": annotations,
        "categories": CATEGORIES if categories is None else categories,
    }
    file.write_text(json.dumps(contents))
    return file


def image_entry(image_id: int, height: int = 40, width: int = 60) -> dict[str, Any]:
    return {"id": image_id, "file_name": f"{image_id:04d}.jpg", "height": height, "width": width}


def box_entry(annotation_id: int, image_id: int, bbox: list[float], category: int = 7, **more: Any) -> dict[str, Any]:
    return {"id": annotation_id, "image_id": image_id, "bbox": bbox, "category_id": category, "area": 1.0, **more}


def voc_xml(objects: str, *, width: object = 60, height: object = 40) -> str:
    size = f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
    return f"<annotation><filename>elsewhere.jpg</filename>{size}{objects}</annotation>"


def voc_object(name: str, xmin: object, ymin: object, xmax: object, ymax: object, difficult: object = 0) -> str:
    box = f"<xmin>{xmin}</xmin><ymin>{ymin}</ymin><xmax>{xmax}</xmax><ymax>{ymax}</ymax>"
    return f"<object><name>{name}</name><difficult>{difficult}</difficult><bndbox>{box}</bndbox></object>"


def write_voc(root: Path, splits: dict[str, dict[str, str]], *, height: int = 40, width: int = 60) -> Path:
    """Splits of {image name: XML text} in VOC's layout, a JPEG for every image."""
    for folder in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for split, files in splits.items():
        (root / "ImageSets" / "Main" / f"{split}.txt").write_text("".join(f"{name}\n" for name in files))
        for name, text in files.items():
            (root / "Annotations" / f"{name}.xml").write_text(text)
            (root / "JPEGImages" / f"{name}.jpg").write_bytes(jpeg(picture(height, width)))
    return root


def sample(height: int, width: int, boxes: list[list[float]], seed: int = 0) -> Sample:
    """A sample whose labels count up and whose second object is a crowd."""
    count = len(boxes)
    return Sample(
        image=picture(height, width, seed),
        image_id=seed,
        size=(height, width),
        boxes_xyxy_px=np.array(boxes, dtype=np.float32).reshape(-1, 4),
        labels=np.arange(count, dtype=np.int64),
        crowd=np.arange(count) == 1,
    )


def zipped(path: Path, files: dict[str, bytes | str]) -> Path:
    """A zip archive of files by name."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, contents in files.items():
            archive.writestr(name, contents)
    return path


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, by its path there."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
