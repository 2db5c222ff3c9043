"""One picture of many: ground truth on the left, prediction on the right, image by image."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from PIL import Image, ImageDraw

from backbone.errors import InputError
from tasks.report.draw import Boxes, Colour, draw_boxes, readable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

CELL_PX = 360
"""Width of a picture."""
MAX_HEIGHT_PX = 288
"""A taller picture is drawn narrower, so that a row of usual ones leaves little empty."""
INNER_PX = 6
GAP_PX = 36
MARGIN_PX = 40
TITLE_PX = 30
HEADER_PX = 17
CAPTION_PX = 15
BOX_FONT_PX = 12
PAPER: Colour = (250, 250, 248)
MAT: Colour = (234, 234, 230)
INK: Colour = (32, 34, 38)
SOFT_INK: Colour = (112, 116, 122)


@dataclass(slots=True)
class Pair:
    """One image twice.

    Attributes:
        image: (H, W, 3) uint8, RGB.
        truth: ground truth, crowd regions included.
        prediction: with scores.
        caption: what stands below: a file name or an image id.
    """

    image: NDArray[np.uint8]
    truth: Boxes
    prediction: Boxes
    caption: str


def contact_sheet(
    pairs: Sequence[Pair],
    path: str | Path,
    names: Sequence[str],
    score_threshold: float,
    title: str = "",
    columns: int = 3,
) -> Path:
    """Write a PNG of all pairs, in their order, row by row.

    Args:
        names: of class 0, 1, ...
        score_threshold: predictions below it are not drawn; the sheet says which it is, and how many they were.
        columns: pairs side by side.
    Returns:
        `path`.
    Raises:
        InputError: no pairs, or the file cannot be written.
    """
    if not pairs:
        raise InputError(f"contact sheet {path}: there are no images to draw; give at least one")
    columns = min(columns, len(pairs))
    rows = [pairs[start : start + columns] for start in range(0, len(pairs), columns)]
    heights = [max(_fitted(pair.image)[1] for pair in row) for row in rows]
    pair_width = 2 * CELL_PX + INNER_PX
    top = MARGIN_PX + 2 * TITLE_PX + 4 * HEADER_PX
    below = 2 * CAPTION_PX + GAP_PX
    width = 2 * MARGIN_PX + columns * pair_width + (columns - 1) * GAP_PX
    height = top + sum(heights) + len(rows) * below - GAP_PX + MARGIN_PX
    sheet = Image.new("RGB", (width, height), PAPER)
    pen = ImageDraw.Draw(sheet)
    count = (
        f"{len(pairs)} image{'s' if len(pairs) > 1 else ''}, predictions with a score of at least {score_threshold:g}"
    )
    _text(pen, (MARGIN_PX, MARGIN_PX), title or "Ground truth and prediction", TITLE_PX, INK)
    _text(pen, (MARGIN_PX, MARGIN_PX + round(1.5 * TITLE_PX)), count, HEADER_PX, SOFT_INK)
    for column in range(columns):
        x = MARGIN_PX + column * (pair_width + GAP_PX)
        _text(pen, (x, top - round(1.6 * HEADER_PX)), "ground truth", HEADER_PX, INK)
        _text(pen, (x + CELL_PX + INNER_PX, top - round(1.6 * HEADER_PX)), "prediction", HEADER_PX, INK)
    y = top
    for row, row_height in zip(rows, heights, strict=True):
        for column, pair in enumerate(row):
            x = MARGIN_PX + column * (pair_width + GAP_PX)
            _draw_pair(sheet, pen, pair, (x, y, row_height), names, score_threshold)
        y += row_height + below
    return _save(sheet, Path(path))


def _draw_pair(
    sheet: Image.Image,
    pen: ImageDraw.ImageDraw,
    pair: Pair,
    place: tuple[int, int, int],
    names: Sequence[str],
    score_threshold: float,
) -> None:
    x, y, height = place
    shown = pair.prediction.above(score_threshold)
    width_px, height_px = _fitted(pair.image)
    factor = width_px / pair.image.shape[1]
    method = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    small = np.asarray(cv2.resize(pair.image, (width_px, height_px), interpolation=method), dtype=np.uint8)
    for column, boxes in enumerate((pair.truth, shown)):
        left = x + column * (CELL_PX + INNER_PX)
        pen.rectangle((left, y, left + CELL_PX - 1, y + height - 1), fill=MAT)
        picture = Image.fromarray(draw_boxes(small, boxes.scaled(factor), names, BOX_FONT_PX))
        sheet.paste(picture, (left + (CELL_PX - width_px) // 2, y + (height - height_px) // 2))
    hidden = len(pair.prediction) - len(shown)
    objects = f"{len(pair.truth)} object{'' if len(pair.truth) == 1 else 's'}"
    found = f"{len(shown)} shown" + (f", {hidden} below {score_threshold:g}" if hidden else "")
    line = y + height + round(0.5 * CAPTION_PX)
    _text(pen, (x, line), f"{pair.caption}: {objects}", CAPTION_PX, SOFT_INK, CELL_PX)
    _text(pen, (x + CELL_PX + INNER_PX, line), found, CAPTION_PX, SOFT_INK, CELL_PX)


def _fitted(image: NDArray[np.uint8]) -> tuple[int, int]:
    """Width and height at which an image fills its cell without being cut or stretched."""
    height, width = image.shape[:2]
    factor = min(CELL_PX / width, MAX_HEIGHT_PX / height)
    return max(1, round(width * factor)), max(1, round(height * factor))


def _text(
    pen: ImageDraw.ImageDraw, place: tuple[int, int], text: str, size: int, ink: Colour, room: int | None = None
) -> None:
    """A line of text, shortened in the middle to `room` pixels."""
    text, font = readable(text, size)
    keep = len(text)
    shown = text
    while room is not None and keep > 1 and pen.textlength(shown, font=font) > room:
        keep -= 1
        shown = f"{text[: keep - keep // 2]}...{text[len(text) - keep // 2 :]}"
    pen.text(place, shown, fill=ink, font=font, anchor="la")


def _save(sheet: Image.Image, path: Path) -> Path:
    """Whole or not at all."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sheet.save(partial, format="PNG")
        partial.replace(path)
    except OSError as error:
        if partial.exists():
            partial.unlink()
        raise InputError(
            f"contact sheet {path}: cannot be written ({error.strerror or error}); choose another folder"
        ) from None
    return path
