"""Label masks in PASCAL VOC's colours: over an image, as a legend, and as the palette PNGs that VOC's server takes.

Shapes: H W pixels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from backbone.errors import InputError
from heads.structures import VOID
from tasks.drawing.png import save_png

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from tasks.drawing.boxes import Colour

BACKGROUND = "background"
OPACITY = 0.6
PIXELS_AT_ONCE = 2**20
"""Blended together: a large image needs no more memory than its result."""


def voc_colour(label: int) -> Colour:
    """RGB of a label, 0 .. 255: its bits in threes, each three the next lower bit of red, green and blue.

    Reference: VOCdevkit, VOClabelcolormap.m.
    """
    red = green = blue = 0
    for bit in range(7, -1, -1):
        red |= (label & 1) << bit
        green |= (label >> 1 & 1) << bit
        blue |= (label >> 2 & 1) << bit
        label >>= 3
    return red, green, blue


VOC_PALETTE = np.array([voc_colour(label) for label in range(256)], np.uint8)
"""(256, 3); black is label 0, the cream of void is 255."""


def draw_mask(
    image: NDArray[np.uint8], mask: NDArray[np.uint8], names: Sequence[str], opacity: float = OPACITY
) -> NDArray[np.uint8]:
    """A copy of an RGB image (H, W, 3) in the colours of its mask (H, W), borders between labels in full colour.

    Args:
        names: of class 0, 1, ...; where the first is "background" its pixels stay as they are.
        opacity: of the colours between the borders, 0 .. 1.
    Raises:
        InputError: the mask has another size.
    """
    if mask.shape != image.shape[:2]:
        raise InputError(f"drawing: a mask of {mask.shape} on an image of {image.shape[:2]}; both must be of one size")
    borders = _borders(mask)
    drawn = np.empty_like(image)
    rows = max(1, PIXELS_AT_ONCE // mask.shape[1])
    for start in range(0, len(mask), rows):
        part = slice(start, start + rows)
        colours = VOC_PALETTE[mask[part]].astype(np.float32)
        shares = np.where(borders[part], 1.0, opacity).astype(np.float32)
        if names[0] == BACKGROUND:
            shares[mask[part] == 0] = 0
        drawn[part] = (image[part] + shares[..., None] * (colours - image[part])).round()
    return drawn


def legend(names: Sequence[str], masks: Iterable[NDArray[np.uint8]]) -> list[tuple[str, Colour]]:
    """Names and colours of the labels that occur in `masks`, in their order, without a background, which is not drawn.

    Raises:
        InputError: a mask has a value that is no class.
    """
    there = np.zeros(VOID + 1, bool)
    for mask in masks:
        there[mask] = True
    entries = []
    for label in there.nonzero()[0].tolist():
        if label >= len(names) and label != VOID:
            raise InputError(f"drawing: a mask has value {label}; must be 0 .. {len(names) - 1}, or {VOID} for void")
        if label > 0 or names[0] != BACKGROUND:
            entries.append(("void" if label == VOID else names[label], voc_colour(label)))
    return entries


def write_palette_png(mask: NDArray[np.uint8], path: str | Path) -> Path:
    """Write a mask (H, W) as VOC does: one byte a pixel is the label, VOC's colours are the palette.

    Returns:
        `path`.
    Raises:
        InputError: the file cannot be written.
    """
    image = Image.fromarray(np.ascontiguousarray(mask))
    image.putpalette(VOC_PALETTE.tobytes())
    return save_png(image, path)


def _borders(mask: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Pixels whose right or lower neighbour has another label, and those neighbours."""
    border = np.zeros(mask.shape, bool)
    across, down = mask[:, 1:] != mask[:, :-1], mask[1:] != mask[:-1]
    border[:, 1:] |= across
    border[:, :-1] |= across
    border[1:] |= down
    border[:-1] |= down
    return border
