"""What is behind, between and over the objects: texture, clutter, light, blur and noise.

A canvas is (3, H, W) float32: the three colours apart, since one value for all of them is then fast to apply.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats: TypeAlias = NDArray[np.floating[Any]]
    Canvas: TypeAlias = NDArray[np.float32]

MAX_CLUTTER = 3
"""Lines, arcs and blobs in a scene that are no objects; from none to this many."""
MAX_NOISE = 5.0
"""Standard deviation of the sensor's noise in grey values, from none to this."""
BLURRED_SHARE = 0.3
STRIPED_SHARE = 0.35

SUBPIXEL_BITS = 4


def paint_background(size: int, rng: np.random.Generator) -> Canvas:
    """Two colours that flow into one another, with a texture; grey values of about 0 to 255."""
    colours = rng.uniform(30, 225, (2, 3)).astype(np.float32)
    colours += (colours.mean(axis=1, keepdims=True) - colours) / 2
    weight = 0.5 + 0.35 * ramp(size, rng) + 0.25 * _clouds(size, int(rng.integers(3, 9)), rng)
    texture = rng.uniform(4, 14) * _clouds(size, int(rng.integers(24, 64)), rng)
    if rng.random() < STRIPED_SHARE:
        texture += rng.uniform(3, 10) * np.sin(ramp(size, rng) * np.float32(rng.uniform(15, 60)))
    np.clip(weight, 0, 1, out=weight)
    canvas = np.empty((3, size, size), dtype=np.float32)
    for plane, low, high in zip(canvas, *colours, strict=True):
        np.multiply(weight, high - low, out=plane)
        plane += low
        plane += texture
    return canvas


def add_clutter(canvas: Canvas, rng: np.random.Generator) -> None:
    """Draw lines, arcs and faint blobs."""
    size = canvas.shape[1]
    for _ in range(rng.integers(0, MAX_CLUTTER + 1)):
        kind = rng.integers(3)
        start, end = rng.integers(0, size, (2, 2)).tolist()
        if kind == 2:
            _add_blob(canvas, np.array(start), rng)
            continue
        width = max(1, round(size * rng.uniform(0.004, 0.012)))
        axes = (rng.uniform(0.1, 0.4, 2) * size).astype(int).tolist()
        tilt, first, arc = rng.uniform(0, 360), rng.uniform(0, 360), rng.uniform(50, 140)
        for plane, value in zip(canvas, rng.uniform(20, 235, 3).tolist(), strict=True):
            if kind == 0:
                cv2.line(plane, start, end, value, width)
            else:
                cv2.ellipse(plane, start, axes, tilt, first, first + arc, value, width)


def finish(canvas: Canvas, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Light from one side, sometimes out of focus, and a sensor's noise: the image, (H, W, 3) uint8.

    The canvas is used up.
    """
    size = canvas.shape[1]
    canvas *= rng.uniform(0.85, 1.1) + rng.uniform(0, 0.2) * ramp(size, rng)
    if rng.random() < BLURRED_SHARE:
        sigma = rng.uniform(0.4, 1.1) * size / 256
        for plane in canvas:
            cv2.GaussianBlur(plane, (0, 0), sigma, dst=plane)
    row, column = rng.integers(0, size, 2)
    strength = np.float32(rng.uniform(0, MAX_NOISE))
    canvas += _noise_bank(2 * size)[:, row : row + size, column : column + size] * strength
    np.clip(canvas, 0, 255, out=canvas)
    image: NDArray[np.uint8] = cv2.merge(list(canvas.astype(np.uint8))).astype(np.uint8, copy=False)
    return image


def ramp(size: int, rng: np.random.Generator) -> Canvas:
    """(size, size) from -1 to 1 in a random direction."""
    angle = rng.uniform(0, 2 * np.pi)
    axis = np.linspace(-1, 1, size, dtype=np.float32) / np.float32(np.sqrt(2))
    both: Canvas = axis * np.float32(np.cos(angle)) + axis[:, None] * np.float32(np.sin(angle))
    return both


def fill_curves(target: NDArray[np.uint8], curves: list[Floats]) -> None:
    """Fill closed curves (P, 2) of pixel coordinates with 255, smooth at the edges."""
    cv2.fillPoly(target, to_fixed_point(curves), 255, cv2.LINE_AA, SUBPIXEL_BITS)


def to_fixed_point(curves: list[Floats]) -> list[NDArray[np.int32]]:
    """Pixel coordinates as OpenCV takes fractions of them."""
    return [np.round(curve * (1 << SUBPIXEL_BITS)).astype(np.int32) for curve in curves]


def bounding_region(curve: Floats, size: int) -> tuple[slice, slice]:
    """Rows and columns of a scene that hold a curve (P, 2) of pixel coordinates, with a pixel to spare."""
    left, top = np.clip(np.floor(curve.min(axis=0)) - 1, 0, size).astype(int).tolist()
    right, bottom = np.clip(np.ceil(curve.max(axis=0)) + 2, 0, size).astype(int).tolist()
    return slice(top, bottom), slice(left, right)


def _clouds(size: int, cells: int, rng: np.random.Generator) -> Canvas:
    """(size, size) smooth noise of about -1 to 1 with this many cells to a side."""
    grid = rng.uniform(-1, 1, (cells, cells)).astype(np.float32)
    smooth = cv2.resize(grid, (size // 4, size // 4), interpolation=cv2.INTER_CUBIC)
    return cv2.resize(smooth, (size, size)).astype(np.float32, copy=False)


def _add_blob(canvas: Canvas, centre: Floats, rng: np.random.Generator) -> None:
    size = canvas.shape[1]
    angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    circle = np.stack([np.cos(angles), np.sin(angles)])
    radius = np.ones_like(angles)
    for frequency, amplitudes in enumerate(rng.normal(0, 0.2, (4, 2)), start=2):
        radius += (amplitudes @ circle) * np.cos(frequency * angles)
    curve = centre + size * rng.uniform(0.04, 0.12) * (np.abs(radius) * circle).T
    rows, columns = bounding_region(curve, size)
    alpha = np.zeros((rows.stop - rows.start, columns.stop - columns.start), dtype=np.uint8)
    fill_curves(alpha, [curve - [columns.start, rows.start]])
    for plane, shade in zip(canvas, rng.uniform(-22, 22, 3), strict=True):
        plane[rows, columns] += alpha * np.float32(shade / 255)


@lru_cache(maxsize=1)
def _noise_bank(side: int) -> Canvas:
    """Normal noise, drawn once: drawing it anew would take longer than everything else in a scene."""
    return np.random.default_rng(0).standard_normal((3, side, side), dtype=np.float32)
