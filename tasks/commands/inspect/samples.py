"""Training images as the model sees them: varied, at its size, with what it is taught drawn on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import simplejpeg

from backbone.errors import InputError
from tasks.data.files.images import read_image
from tasks.data.loading.sampling import TransformedData
from tasks.data.transforms.resizing import resize_by_area
from tasks.drawing.boxes import Boxes, draw_boxes
from tasks.drawing.contact_sheet import spread
from tasks.drawing.masks import draw_mask, legend

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from tasks.data.labels import LabelMap
    from tasks.data.sample import Sample, Transform
    from tasks.data.splits import VisionData
    from tasks.drawing.boxes import Colour

    Pixels: TypeAlias = NDArray[np.uint8]

MAX_SIDE_PX = 384
"""Larger images are shrunk for the page: 200 of them stay under 15 MB."""
QUALITY = 80
FONT_PX = 12


@dataclass(slots=True)
class DrawnImage:
    """A JPEG file's contents, and what stands below it."""

    jpeg: bytes
    caption: str


def draw_samples(
    data: VisionData, positions: NDArray[np.int64], transform: Transform, labels: LabelMap, count: int, seed: int
) -> tuple[list[DrawnImage], list[tuple[str, Colour]]]:
    """Up to `count` of the images at `positions`, and what the colours of their masks mean.

    Args:
        positions: of images that can be read.
        seed: of the run; each image is varied as its position and this say.
    """
    varied = TransformedData(data, transform)
    drawn, masks = [], []
    for place in spread(len(positions), count):
        position = int(positions[place])
        sample = varied[position, int(np.random.default_rng([seed, position]).integers(2**32))]
        drawn.append(DrawnImage(_jpeg(_drawn(sample, labels)), _caption(sample, data.path(position), labels)))
        if sample.mask is not None:
            masks.append(sample.mask)
    return drawn, legend(labels.names, masks) if masks else []


def draw_files(paths: Sequence[Path]) -> list[DrawnImage]:
    """Files as they are, those that can be read."""
    drawn = []
    for path in paths:
        try:
            drawn.append(DrawnImage(_jpeg(read_image(path)), str(path)))
        except InputError:
            continue  # a member of a shard, which is no file of its own
    return drawn


def _drawn(sample: Sample, labels: LabelMap) -> Pixels:
    if sample.mask is not None:
        return draw_mask(sample.image, sample.mask, labels.names)
    boxes = Boxes(sample.boxes_xyxy_px, sample.labels, crowd=sample.crowd)
    return draw_boxes(sample.image, boxes, labels.names, FONT_PX) if len(boxes) else sample.image


def _caption(sample: Sample, path: Path, labels: LabelMap) -> str:
    if sample.class_index is not None:
        return f"{path.name}: {labels.names[sample.class_index]}"
    if sample.mask is not None:
        return path.name
    return f"{path.name}: {len(sample.labels)} object{'' if len(sample.labels) == 1 else 's'}"


def _jpeg(image: Pixels) -> bytes:
    height, width = image.shape[:2]
    factor = min(1.0, MAX_SIDE_PX / max(height, width))
    small = resize_by_area(image, (max(1, round(height * factor)), max(1, round(width * factor))))
    data: bytes = simplejpeg.encode_jpeg(np.ascontiguousarray(small), quality=QUALITY, colorsubsampling="420")
    return data
