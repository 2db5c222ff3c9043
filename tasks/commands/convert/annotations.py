"""What is known of the images of a split, in COCO's and in YOLO's words. No image is read for it, but masks are.

Shapes: H W pixels.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from heads.structures import VOID
from tasks.data.datasets.outlined import OutlinedDataset
from tasks.data.formats.coco.outlines import inside

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Outline: TypeAlias = list[list[float]] | dict[str, Any]

BACKGROUND = "background"
DIGITS = 8
FEWEST_CORNERS = 3


@dataclass(slots=True)
class Losses:
    """What a format cannot hold, counted."""

    crowds: int = 0
    holes: int = 0
    specks: int = 0

    def in_words(self) -> list[str]:
        words = {
            "crowd regions and void pixels are left out (YOLO has none; they become background)": self.crowds,
            "holes in outlines are filled": self.holes,
            "outlines of less than 3 corners are left out": self.specks,
        }
        return [f"{count} {text}" for text, count in words.items() if count]


@dataclass(slots=True)
class Described:
    """A split in COCO's words.

    Attributes:
        names: of the classes by category id.
        sizes: (height, width) of every image in pixels.
        ids: of the images.
        objects: of every image, without `id` and `image_id`.
    """

    names: dict[int, str]
    sizes: list[tuple[int, int]] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)
    objects: list[list[dict[str, Any]]] = field(default_factory=list)


def described(data: Any) -> Described:
    """What is known of a split with boxes or with masks."""
    if hasattr(data, "ground_truth"):
        return _boxes(data.ground_truth())
    names = data.labels.names
    shift = 0 if names[0].lower() == BACKGROUND else 1
    found = Described({index + shift: name for index, name in enumerate(names) if index + shift})
    for place in range(len(data)):
        if isinstance(data, OutlinedDataset):
            size = data.size(place)
            rows = [_row(index + shift, outline, size, crowd) for index, crowd, outline in data.objects(place)]
        else:
            mask = data.mask(place)
            size = (int(mask.shape[0]), int(mask.shape[1]))
            rows = list(_regions(mask, shift))
        found.sizes.append(size)
        found.ids.append(place + 1)
        found.objects.append(rows)
    return found


def coco(found: Described, files: list[str]) -> dict[str, Any]:
    """An annotation file. Annotations are numbered from 1."""
    owners = [(image, row) for image, rows in zip(found.ids, found.objects, strict=True) for row in rows]
    return {
        "images": [
            {"id": image, "file_name": file, "height": size[0], "width": size[1]}
            for image, file, size in zip(found.ids, files, found.sizes, strict=True)
        ],
        "annotations": [{"id": n, "image_id": image, **row} for n, (image, row) in enumerate(owners, start=1)],
        "categories": [{"id": number, "name": name} for number, name in found.names.items()],
    }


def yolo(found: Described, place: int, losses: Losses) -> str:
    """The labels of an image: a line for each box, or for each polygon of an outline. Both end at the image's border,
    for Ultralytics leaves out images with labels that do not.
    """
    index = {number: place for place, number in enumerate(found.names)}
    height, width = found.sizes[place]
    lines = []
    for row in found.objects[place]:
        if row["iscrowd"]:
            losses.crowds += 1
            continue
        if "segmentation" not in row:
            x, y, w, h = row["bbox"]
            (x1, x2), (y1, y2) = np.clip([x, x + w], 0, width) / width, np.clip([y, y + h], 0, height) / height
            shapes: list[list[float]] = [[(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1]]
        else:
            shapes = []
            for polygon in _polygons(row["segmentation"], losses):
                corners = np.clip(polygon.reshape(-1, 2) / [width, height], 0, 1)
                shapes.append(corners.reshape(-1).tolist())
        lines += [" ".join([str(index[row["category_id"]]), *(f"{n:.{DIGITS}g}" for n in one)]) for one in shapes]
    return "".join(f"{line}\n" for line in lines)


def _boxes(truth: dict[str, Any]) -> Described:
    found = Described({row["id"]: row["name"] for row in truth["categories"]})
    objects: dict[int, list[dict[str, Any]]] = {image["id"]: [] for image in truth["images"]}
    for row in truth["annotations"]:
        objects[row["image_id"]].append({key: row[key] for key in ("category_id", "bbox", "area", "iscrowd")})
    for image in truth["images"]:
        found.sizes.append((image["height"], image["width"]))
        found.ids.append(image["id"])
        found.objects.append(objects[image["id"]])
    return found


def _row(category: int, outline: Outline, size: tuple[int, int], crowd: bool) -> dict[str, Any]:
    runs = outline if isinstance(outline, dict) else coco_mask.merge(coco_mask.frPyObjects(outline, *size))
    return {
        "category_id": category,
        "bbox": coco_mask.toBbox(runs).tolist(),
        "area": float(coco_mask.area(runs)),
        "iscrowd": int(crowd),
        "segmentation": outline,
    }


def _regions(mask: NDArray[np.uint8], shift: int) -> Iterator[dict[str, Any]]:
    """All pixels of each class of a mask as one object, and void pixels as a crowd."""
    for value in np.unique(mask).tolist():
        if value + shift == 0:
            continue
        runs = coco_mask.encode(np.asfortranarray(mask == value).view(np.uint8))
        outline = {"size": list(mask.shape), "counts": runs["counts"].decode("ascii")}
        is_void = value == VOID
        yield _row(1 if is_void else value + shift, outline, (mask.shape[0], mask.shape[1]), is_void)


def _polygons(outline: Outline, losses: Losses) -> list[NDArray[np.float64]]:
    if isinstance(outline, list):
        return [np.array(polygon) for polygon in outline]
    contours, levels = cv2.findContours(inside(outline).astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    outer = [place for place in range(len(contours)) if levels[0][place][3] < 0]
    losses.holes += len(contours) - len(outer)
    found = [contours[place].reshape(-1).astype(np.float64) + 0.5 for place in outer]
    losses.specks += sum(len(one) < 2 * FEWEST_CORNERS for one in found)
    return [one for one in found if len(one) >= 2 * FEWEST_CORNERS]
