"""One image of many with their classes: the mistakes that a classifier was surest of, then some right predictions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from backbone.errors import InputError
from tasks.drawing.contact_sheet import (
    CAPTION_PX,
    CELL_PX,
    GAP_PX,
    HEADER_PX,
    INK,
    MARGIN_PX,
    SOFT_INK,
    TITLE_PX,
    fitted,
    mount,
    titled_sheet,
    write_line,
)
from tasks.drawing.png import save_png

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image, ImageDraw

    from tasks.drawing.boxes import Colour

WRONG: Colour = (196, 36, 48)
RIGHT: Colour = (24, 120, 72)
COLUMNS = 4
SPACE_PX = 12
"""Between images of a row."""
LINES_PX = 3 * HEADER_PX + 2 * CAPTION_PX
"""Below an image: what was predicted, the truth, the file."""
HEADING_PX = 3 * HEADER_PX


@dataclass(slots=True)
class ClassifiedImage:
    """What a classifier said to one image.

    Attributes:
        image: (H, W, 3) uint8, RGB.
        truth, predicted: names of classes.
        probability: of the predicted one; None where the scores were no numbers.
        caption: a file name or an image id.
    """

    image: NDArray[np.uint8]
    truth: str
    predicted: str
    probability: float | None
    caption: str

    @property
    def is_right(self) -> bool:
        return self.probability is not None and self.predicted == self.truth


def class_sheet(predictions: Sequence[ClassifiedImage], path: str | Path, *, title: str = "", note: str = "") -> Path:
    """Write a PNG of all predictions in order: the wrong ones under one heading, the right ones under another.

    Args:
        note: below the title.
    Returns:
        `path`.
    Raises:
        InputError: no predictions, or the file cannot be written.
    """
    if not predictions:
        raise InputError(f"class sheet {path}: there are no images to draw; give at least one")
    columns = min(COLUMNS, len(predictions))
    width = 2 * MARGIN_PX + columns * CELL_PX + (columns - 1) * SPACE_PX
    sections = [
        (heading, _rows([prediction for prediction in predictions if prediction.is_right is right], columns))
        for heading, right in (("wrong, the most certain first", False), ("right", True))
    ]
    sections = [(heading, rows) for heading, rows in sections if rows]
    top = MARGIN_PX + round(1.5 * TITLE_PX) + (2 * HEADER_PX if note else 0) + HEADER_PX
    rows_px = sum(_height(row) + LINES_PX + GAP_PX for _, rows in sections for row in rows)
    height = top + rows_px + HEADING_PX * len(sections) + MARGIN_PX - GAP_PX
    sheet, pen = titled_sheet((width, height), title or "Predictions", note)
    y = top
    for heading, rows in sections:
        write_line(pen, (MARGIN_PX, y + HEADER_PX), heading, HEADER_PX, INK)
        y += HEADING_PX
        for row in rows:
            for column, (prediction, image) in enumerate(row):
                place = MARGIN_PX + column * (CELL_PX + SPACE_PX), y, _height(row)
                _draw(sheet, pen, prediction, image, place)
            y += _height(row) + LINES_PX + GAP_PX
    return save_png(sheet, path)


def _rows(
    predictions: Sequence[ClassifiedImage], columns: int
) -> list[list[tuple[ClassifiedImage, NDArray[np.uint8]]]]:
    """Predictions with their images at the size of a cell."""
    drawn = [(prediction, fitted(prediction.image)) for prediction in predictions]
    return [drawn[start : start + columns] for start in range(0, len(drawn), columns)]


def _height(row: Sequence[tuple[ClassifiedImage, NDArray[np.uint8]]]) -> int:
    return max(len(image) for _, image in row)


def _draw(
    sheet: Image.Image,
    pen: ImageDraw.ImageDraw,
    prediction: ClassifiedImage,
    image: NDArray[np.uint8],
    place: tuple[int, int, int],
) -> None:
    x, y, height = place
    mount(sheet, image, place)
    colour = RIGHT if prediction.is_right else WRONG
    pen.rectangle((x, y + height, x + CELL_PX - 1, y + height + 3), fill=colour)
    said = (
        "no prediction" if prediction.probability is None else f"{prediction.predicted}  {prediction.probability:.2f}"
    )
    line = y + height + CAPTION_PX
    write_line(pen, (x, line), said, HEADER_PX, colour, CELL_PX)
    write_line(pen, (x, line + round(1.4 * HEADER_PX)), f"truth: {prediction.truth}", CAPTION_PX, INK, CELL_PX)
    write_line(pen, (x, line + round(2.7 * HEADER_PX)), prediction.caption, CAPTION_PX, SOFT_INK, CELL_PX)
