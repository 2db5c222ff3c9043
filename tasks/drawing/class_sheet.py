"""One picture of many with their classes: the mistakes that a classifier was surest of, then some right answers."""

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
"""Between pictures of a row."""
LINES_PX = 3 * HEADER_PX + 2 * CAPTION_PX
"""Below a picture: what was predicted, the truth, the file."""
HEADING_PX = 3 * HEADER_PX


@dataclass(slots=True)
class Answer:
    """What a classifier said to one picture.

    Attributes:
        picture: (H, W, 3) uint8, RGB.
        truth, predicted: names of classes.
        probability: of the predicted one; None where the scores were no numbers.
        caption: a file name or an image id.
    """

    picture: NDArray[np.uint8]
    truth: str
    predicted: str
    probability: float | None
    caption: str

    @property
    def is_right(self) -> bool:
        return self.probability is not None and self.predicted == self.truth


def class_sheet(answers: Sequence[Answer], path: str | Path, *, title: str = "", note: str = "") -> Path:
    """Write a PNG of all answers in their order: under one heading those that are wrong, under another the right ones.

    Args:
        note: below the title.
    Returns:
        `path`.
    Raises:
        InputError: no answers, or the file cannot be written.
    """
    if not answers:
        raise InputError(f"class sheet {path}: there are no images to draw; give at least one")
    columns = min(COLUMNS, len(answers))
    width = 2 * MARGIN_PX + columns * CELL_PX + (columns - 1) * SPACE_PX
    sections = [
        (heading, _rows([answer for answer in answers if answer.is_right is right], columns))
        for heading, right in (("wrong, the most certain first", False), ("right", True))
    ]
    sections = [(heading, rows) for heading, rows in sections if rows]
    top = MARGIN_PX + round(1.5 * TITLE_PX) + (2 * HEADER_PX if note else 0) + HEADER_PX
    rows_px = sum(_height(row) + LINES_PX + GAP_PX for _, rows in sections for row in rows)
    height = top + rows_px + HEADING_PX * len(sections) + MARGIN_PX - GAP_PX
    sheet, pen = titled_sheet((width, height), title or "Answers", note)
    y = top
    for heading, rows in sections:
        write_line(pen, (MARGIN_PX, y + HEADER_PX), heading, HEADER_PX, INK)
        y += HEADING_PX
        for row in rows:
            for column, (answer, picture) in enumerate(row):
                place = MARGIN_PX + column * (CELL_PX + SPACE_PX), y, _height(row)
                _draw(sheet, pen, answer, picture, place)
            y += _height(row) + LINES_PX + GAP_PX
    return save_png(sheet, path)


def _rows(answers: Sequence[Answer], columns: int) -> list[list[tuple[Answer, NDArray[np.uint8]]]]:
    """Answers with their pictures at the size of a cell."""
    drawn = [(answer, fitted(answer.picture)) for answer in answers]
    return [drawn[start : start + columns] for start in range(0, len(drawn), columns)]


def _height(row: Sequence[tuple[Answer, NDArray[np.uint8]]]) -> int:
    return max(len(picture) for _, picture in row)


def _draw(
    sheet: Image.Image,
    pen: ImageDraw.ImageDraw,
    answer: Answer,
    picture: NDArray[np.uint8],
    place: tuple[int, int, int],
) -> None:
    x, y, height = place
    mount(sheet, picture, place)
    colour = RIGHT if answer.is_right else WRONG
    pen.rectangle((x, y + height, x + CELL_PX - 1, y + height + 3), fill=colour)
    said = "no answer" if answer.probability is None else f"{answer.predicted}  {answer.probability:.2f}"
    line = y + height + CAPTION_PX
    write_line(pen, (x, line), said, HEADER_PX, colour, CELL_PX)
    write_line(pen, (x, line + round(1.4 * HEADER_PX)), f"truth: {answer.truth}", CAPTION_PX, INK, CELL_PX)
    write_line(pen, (x, line + round(2.7 * HEADER_PX)), answer.caption, CAPTION_PX, SOFT_INK, CELL_PX)
