"""One image of many: ground truth on the left, prediction on the right, image by image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from PIL import Image, ImageDraw

from backbone.errors import InputError
from tasks.drawing.boxes import Colour, readable
from tasks.drawing.png import save_png

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

CELL_PX = 360
"""Width of an image."""
MAX_HEIGHT_PX = 288
"""A taller image is drawn narrower, so that a row of usual ones leaves little empty."""
INNER_PX = 6
GAP_PX = 36
MARGIN_PX = 40
TITLE_PX = 30
HEADER_PX = 17
CAPTION_PX = 15
PAPER: Colour = (250, 250, 248)
MAT: Colour = (234, 234, 230)
INK: Colour = (32, 34, 38)
SOFT_INK: Colour = (112, 116, 122)


@dataclass(slots=True)
class Pair:
    """One image twice, drawn on; images that `fitted` made first are not resized again.

    Attributes:
        truth, prediction: (H, W, 3) uint8, RGB.
        truth_caption, prediction_caption: what stands below.
    """

    truth: NDArray[np.uint8]
    prediction: NDArray[np.uint8]
    truth_caption: str
    prediction_caption: str = ""


def contact_sheet(
    pairs: Sequence[Pair],
    path: str | Path,
    *,
    title: str = "",
    note: str = "",
    legend: Sequence[tuple[str, Colour]] = (),
    columns: int = 3,
) -> Path:
    """Write a PNG of all pairs, in their order, row by row.

    Args:
        note: below the title, after the number of images.
        legend: what colours mean, above the images.
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
    heights = [max(_fitted_size(image)[1] for pair in row for image in (pair.truth, pair.prediction)) for row in rows]
    pair_width = 2 * CELL_PX + INNER_PX
    width = 2 * MARGIN_PX + columns * pair_width + (columns - 1) * GAP_PX
    entries = list(_placed(legend, width - 2 * MARGIN_PX))
    legend_top = MARGIN_PX + 2 * TITLE_PX + 2 * HEADER_PX
    top = legend_top + 2 * HEADER_PX + (entries[-1][1] + 2 * HEADER_PX if entries else 0)
    below = 2 * CAPTION_PX + GAP_PX
    height = top + sum(heights) + len(rows) * below - GAP_PX + MARGIN_PX
    count = f"{len(pairs)} image{'s' if len(pairs) > 1 else ''}" + (f", {note}" if note else "")
    sheet, pen = titled_sheet((width, height), title or "Ground truth and prediction", count)
    for x, y, name, colour in entries:
        left, upper = MARGIN_PX + x, legend_top + y
        pen.rectangle((left, upper, left + HEADER_PX - 1, upper + HEADER_PX - 1), fill=colour, outline=SOFT_INK)
        write_line(pen, (left + round(1.5 * HEADER_PX), upper), name, HEADER_PX, INK)
    for column in range(columns):
        x = MARGIN_PX + column * (pair_width + GAP_PX)
        write_line(pen, (x, top - round(1.6 * HEADER_PX)), "ground truth", HEADER_PX, INK)
        write_line(pen, (x + CELL_PX + INNER_PX, top - round(1.6 * HEADER_PX)), "prediction", HEADER_PX, INK)
    y = top
    for row, row_height in zip(rows, heights, strict=True):
        for column, pair in enumerate(row):
            _draw_pair(sheet, pen, pair, (MARGIN_PX + column * (pair_width + GAP_PX), y, row_height))
        y += row_height + below
    return save_png(sheet, path)


def titled_sheet(size: tuple[int, int], title: str, note: str) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    """An empty sheet of a width and height in pixels but for its title and the note below, and a pen for it."""
    sheet = Image.new("RGB", size, PAPER)
    pen = ImageDraw.Draw(sheet)
    write_line(pen, (MARGIN_PX, MARGIN_PX), title, TITLE_PX, INK)
    write_line(pen, (MARGIN_PX, MARGIN_PX + round(1.5 * TITLE_PX)), note, HEADER_PX, SOFT_INK)
    return sheet, pen


def mount(sheet: Image.Image, image: NDArray[np.uint8], place: tuple[int, int, int]) -> None:
    """Put a fitted image in the middle of its cell.

    Args:
        place: left, top and height of the cell.
    """
    x, y, height = place
    sheet.paste(MAT, (x, y, x + CELL_PX, y + height))
    sheet.paste(Image.fromarray(image), (x + (CELL_PX - image.shape[1]) // 2, y + (height - image.shape[0]) // 2))


def fitted(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """An image as large as its cell takes without cutting or stretching it."""
    size = _fitted_size(image)
    if size == (image.shape[1], image.shape[0]):
        return image
    method = cv2.INTER_AREA if size[0] < image.shape[1] else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, size, interpolation=method), dtype=np.uint8)


def _draw_pair(sheet: Image.Image, pen: ImageDraw.ImageDraw, pair: Pair, place: tuple[int, int, int]) -> None:
    x, y, height = place
    line = y + height + round(0.5 * CAPTION_PX)
    sides = ((pair.truth, pair.truth_caption), (pair.prediction, pair.prediction_caption))
    for column, (drawn, caption) in enumerate(sides):
        left = x + column * (CELL_PX + INNER_PX)
        mount(sheet, fitted(drawn), (left, y, height))
        write_line(pen, (left, line), caption, CAPTION_PX, SOFT_INK, CELL_PX)


def _fitted_size(image: NDArray[np.uint8]) -> tuple[int, int]:
    """Width and height at which an image fills its cell without being cut or stretched."""
    height, width = image.shape[:2]
    factor = min(CELL_PX / width, MAX_HEIGHT_PX / height)
    return max(1, round(width * factor)), max(1, round(height * factor))


def _placed(legend: Sequence[tuple[str, Colour]], room: int) -> Iterator[tuple[int, int, str, Colour]]:
    """Left and top of every entry, in lines of at most `room` pixels."""
    x = y = 0
    for name, colour in legend:
        text, font = readable(name, HEADER_PX)
        wide = round(1.5 * HEADER_PX + font.getlength(text))
        if x and x + wide > room:
            x, y = 0, y + round(1.5 * HEADER_PX)
        yield x, y, name, colour
        x += wide + round(1.5 * HEADER_PX)


def write_line(
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


def spread(length: int, count: int) -> list[int]:
    """Up to `count` positions, evenly spread over 0 .. length - 1, the first and the last among them."""
    count = min(count, length)
    return sorted({round(place * (length - 1) / max(1, count - 1)) for place in range(count)})
