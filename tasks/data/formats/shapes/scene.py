"""One scene from one seed: a background and a few objects that may hide parts of each other.

Shapes: H W pixels of the scene, M objects in it, P points of a curve.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import cv2
import numpy as np

from tasks.data.formats.shapes.background import (
    SUBPIXEL_BITS,
    add_clutter,
    bounding_region,
    fill_curves,
    finish,
    paint_background,
    ramp,
    to_fixed_point,
)
from tasks.data.formats.shapes.outlines import NAMES, OUTLINES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats: TypeAlias = NDArray[np.floating[Any]]

SCALES = (0.4, 0.8)
"""Longer side of an object's box, as a fraction of the scene's side."""
SINGLE_SCALES = (0.6, 0.9)
SINGLE_SHIFT = 0.1
"""The only object of an image to classify is large and within this fraction of the side from the middle, as things in
photographs are; a network from a random start then needs a third of the images."""
MAX_OBJECTS = 3
MIN_VISIBLE = 0.8
"""Share of an object that others and the border must leave visible; objects go where that holds, or nowhere."""
EMPTY_SHARE = 0.05
MIN_CONTRAST = 130.0
"""Distance in RGB between an object and the background around it."""

PATTERNED_SHARE = 0.1
OUTLINED_SHARE = 0.3
MAX_TILT = np.pi / 8
"""Radians by which a shape is turned either way: things in photographs mostly stand upright too."""
STRETCH = 1.25
"""Largest ratio by which a shape is drawn longer or wider."""
PLACING_TRIALS = 8
VOID = 255


@dataclass(slots=True)
class Scene:
    """An image and the truth about it.

    Attributes:
        image: (H, W, 3) uint8, RGB.
        boxes_xyxy_px: (M, 4) float32, tight around each object as far as it is in the image, hidden parts included.
        labels: (M,) int64, indices into `outlines.NAMES`.
        areas: (M,) int64, visible pixels of each object.
        mask: (H, W) uint8, 0 background, 1 + label on objects, 255 on the edges of objects.
        class_index: class with the largest visible area; None where there is no object.
    """

    image: NDArray[np.uint8]
    boxes_xyxy_px: NDArray[np.float32]
    labels: NDArray[np.int64]
    areas: NDArray[np.int64]
    mask: NDArray[np.uint8]
    class_index: int | None


@dataclass(slots=True)
class Placed:
    """An object in its place.

    Attributes:
        label: class index.
        curves: (P, 2) each, pixel coordinates in `region`.
        region: rows and columns of the scene that hold it.
        alpha: uint8, how far each pixel of the region is covered.
        solid: bool, the pixels that count as the object's.
        full_area: pixels that it has, also beyond the border.
        visible: pixels that are in the image and not hidden by later objects.
    """

    label: int
    curves: list[Floats]
    region: tuple[slice, slice]
    alpha: NDArray[np.uint8]
    solid: NDArray[np.bool_]
    full_area: float
    visible: int


def draw_scene(size: int, rng: np.random.Generator, *, single: int | None = None) -> Scene:
    """A scene of `size` x `size` pixels. The same state of `rng` gives the same scene.

    Args:
        single: class of the only object, for an image to classify; None: none to `MAX_OBJECTS` of any class.
    """
    canvas = paint_background(size, rng)
    add_clutter(canvas, rng)
    owner = np.zeros((size, size), dtype=np.uint8)
    placed: list[Placed] = []
    if single is not None:
        while not placed:
            _place_one(canvas, placed, owner, rng, single)
    elif rng.random() >= EMPTY_SHARE:
        for _ in range(rng.integers(1, MAX_OBJECTS + 1)):
            _place_one(canvas, placed, owner, rng)
    labels = np.array([item.label for item in placed], dtype=np.int64)
    areas = np.array([item.visible for item in placed], dtype=np.int64)
    by_class = np.bincount(labels, weights=areas, minlength=len(NAMES))
    return Scene(
        image=finish(canvas, rng),
        boxes_xyxy_px=np.array([_box(item) for item in placed], dtype=np.float32).reshape(-1, 4),
        labels=labels,
        areas=areas,
        mask=_semantic(owner, labels),
        class_index=int(by_class.argmax()) if placed else None,
    )


def _place_one(
    canvas: NDArray[np.float32],
    placed: list[Placed],
    owner: NDArray[np.uint8],
    rng: np.random.Generator,
    label: int | None = None,
) -> None:
    """Draw one more object, of any class or of this one, if a place for it is found."""
    for _ in range(PLACING_TRIALS):
        candidate = _shape(canvas.shape[1], rng, label)
        if _put(candidate, placed, owner):
            _paint(canvas, candidate, rng)
            break


def _shape(size: int, rng: np.random.Generator, label: int | None) -> Placed:
    """A shape tilted a little: of any class, size and place, or the only one of an image; see `SINGLE_SCALES`.

    Part of it may be beyond the border.
    """
    single = label is not None
    label = int(rng.integers(len(NAMES))) if label is None else label
    least, most = SINGLE_SCALES if single else SCALES
    side = size * least * (most / least) ** rng.random()
    angle, stretch = rng.uniform(-MAX_TILT, MAX_TILT), STRETCH ** rng.uniform(-1, 1)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    curves = [curve * [stretch, 1.0] @ rotation.T for curve in OUTLINES[NAMES[label]]]
    low, high = curves[0].min(axis=0), curves[0].max(axis=0)
    scale = side / (high - low).max()
    margin = size * np.full(2, 0.5 - SINGLE_SHIFT) if single else 0.2 * scale * (high - low)
    centre = rng.uniform(margin, size - margin)
    curves = [(curve - (low + high) / 2) * scale + centre for curve in curves]
    rows, columns = bounding_region(curves[0], size)
    curves_there = [curve - [columns.start, rows.start] for curve in curves]
    alpha = np.zeros((rows.stop - rows.start, columns.stop - columns.start), dtype=np.uint8)
    fill_curves(alpha, curves_there)
    solid = alpha > 127
    outer, *holes = (abs(cv2.contourArea(curve.astype(np.float32))) for curve in curves)
    return Placed(label, curves_there, (rows, columns), alpha, solid, outer - sum(holes), int(np.count_nonzero(solid)))


def _put(item: Placed, placed: list[Placed], owner: NDArray[np.uint8]) -> bool:
    """Put `item` in front of the others, if it and all of them stay visible enough; say whether it was done."""
    if item.visible < MIN_VISIBLE * item.full_area:
        return False
    hidden = np.bincount(owner[item.region][item.solid], minlength=len(placed) + 1)[1:].tolist()
    if any(other.visible - loss < MIN_VISIBLE * other.full_area for other, loss in zip(placed, hidden, strict=True)):
        return False
    for other, loss in zip(placed, hidden, strict=True):
        other.visible -= loss
    placed.append(item)
    owner[item.region][item.solid] = len(placed)
    return True


def _paint(canvas: NDArray[np.float32], item: Placed, rng: np.random.Generator) -> None:
    """Fill the object with one colour, a gradient or stripes, sometimes with a dark outline."""
    rows, columns = item.region
    part = canvas[:, rows, columns]
    colour = _contrasting(part.mean(axis=(1, 2)), rng)
    height, width = item.alpha.shape
    light = np.ones((height, width), dtype=np.float32)
    style = rng.random()
    if style < PATTERNED_SHARE:
        pattern = ramp(max(height, width), rng)[:height, :width]
        if style < PATTERNED_SHARE / 2:
            pattern = np.sign(np.sin(pattern * np.float32(rng.uniform(8, 16))))
        light += np.float32(rng.uniform(0.12, 0.25)) * pattern
    if rng.random() < OUTLINED_SHARE:
        edge = np.zeros((height, width), dtype=np.uint8)
        thickness = max(1, round(canvas.shape[1] / 128))
        cv2.polylines(edge, to_fixed_point(item.curves), True, 255, thickness, cv2.LINE_AA, SUBPIXEL_BITS)
        light[edge > 127] = 0.4
    alpha = item.alpha * np.float32(1 / 255)
    for plane, value in zip(part, colour, strict=True):
        plane += alpha * (light * value - plane)


def _contrasting(background: Floats, rng: np.random.Generator) -> NDArray[np.float32]:
    """A saturated colour that is far enough from the background's; the farthest of some if none is."""
    hsv = np.stack([rng.uniform(0, 180, 12), rng.uniform(110, 255, 12), rng.uniform(90, 255, 12)], axis=1)
    colours = cv2.cvtColor(hsv.astype(np.uint8)[None], cv2.COLOR_HSV2RGB)[0].astype(np.float32)
    distances = np.linalg.norm(colours - background, axis=1)
    enough = distances >= MIN_CONTRAST
    chosen: NDArray[np.float32] = colours[enough.argmax() if enough.any() else distances.argmax()]
    return chosen


def _box(item: Placed) -> tuple[int, int, int, int]:
    rows, columns = item.region
    x, y, width, height = cv2.boundingRect(item.solid.astype(np.uint8))
    left, top = columns.start + x, rows.start + y
    return left, top, left + width, top + height


def _semantic(owner: NDArray[np.uint8], labels: NDArray[np.int64]) -> NDArray[np.uint8]:
    table = np.zeros(256, dtype=np.uint8)
    table[1 : len(labels) + 1] = labels + 1
    mask: NDArray[np.uint8] = cv2.LUT(owner, table).astype(np.uint8, copy=False)
    mask[cv2.morphologyEx(owner, cv2.MORPH_GRADIENT, np.ones((3, 3), dtype=np.uint8)) > 0] = VOID
    return mask
