"""The answers of all heads on one image: masks below, boxes above them, then panels with a legend and with classes.

A panel lies in a corner of the image, which keeps its size: every frame of a video has the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from PIL import Image, ImageDraw

from backbone.errors import InputError
from heads.structures import Classification, Detections, LabelMask
from tasks.config.predict import SCORE
from tasks.drawing.boxes import DARK, PALETTE, WHITE, Boxes, draw_boxes, readable
from tasks.drawing.masks import PIXELS_AT_ONCE, draw_mask, legend

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tasks.drawing.boxes import Colour

    Pixels: TypeAlias = NDArray[np.uint8]

LEAST_FONT_PX = 11
FONT_SHARE = 26
"""Lines of text that fit into the shorter side of an image."""
PANEL_DARKNESS = 0.72
BAR: Colour = PALETTE[1]
PALE_BAR: Colour = (120, 130, 138)


@dataclass(slots=True)
class Row:
    """A line of a panel.

    Attributes:
        text: what it says.
        colour: of the square before it; None draws none.
        share: in [0, 1], drawn as a bar and written as percents; None: there is none.
    """

    text: str
    colour: Colour | None = None
    share: float | None = None


def thresholds(score: float | Mapping[str, float], names: Sequence[str]) -> NDArray[np.float64]:
    """The least score of every class."""
    if isinstance(score, Mapping):
        return np.array([score.get(name, SCORE) for name in names], np.float64)
    return np.full(len(names), score, np.float64)


def draw_predictions(
    image: Pixels,
    answers: Mapping[str, object],
    names: Mapping[str, Sequence[str]],
    *,
    score: float | Mapping[str, float],
    overlay: float,
    top: int,
) -> Pixels:
    """A copy of an RGB image (H, W, 3) with the answers of all heads.

    Args:
        answers, names: by head.
        score: detections below it are left out; by the class's name, `SCORE` of those that are not named.
        overlay: opacity of masks.
        top: classes in the panel.
    Raises:
        InputError: a head answers with something else than classes, boxes or a mask.
    """
    for head, answer in answers.items():
        if not isinstance(answer, Classification | Detections | LabelMask):
            raise InputError(f"head {head}: answers with {type(answer).__name__}, which cannot be drawn")
    drawn = image
    font_px = max(LEAST_FONT_PX, round(min(image.shape[:2]) / FONT_SHARE))
    meanings: list[Row] = []
    classes: list[Row] = []
    for head, answer in answers.items():
        if isinstance(answer, LabelMask):
            mask = answer.mask.numpy()
            drawn = draw_mask(drawn, mask, names[head], overlay)
            rows = max(1, PIXELS_AT_ONCE // mask.shape[1])
            stripes = (mask[start : start + rows] for start in range(0, len(mask), rows))
            meanings += [Row(name, colour) for name, colour in legend(names[head], stripes)]
        elif isinstance(answer, Classification):
            shares = answer.scores.nan_to_num(nan=0.0)
            best = shares.argsort(descending=True, stable=True)[:top].tolist()
            classes += [Row(names[head][index], share=float(shares[index])) for index in best]
    for head, answer in answers.items():
        if isinstance(answer, Detections):
            drawn = draw_boxes(drawn, Boxes.of(answer).above(thresholds(score, names[head])), names[head], font_px)
    if drawn is image or not drawn.flags.writeable:
        drawn = drawn.copy()
    draw_panel(drawn, meanings, font_px, at_bottom=True)
    draw_panel(drawn, classes, font_px, at_bottom=False)
    return drawn


def draw_panel(image: Pixels, rows: Sequence[Row], font_px: int, *, at_bottom: bool) -> None:
    """Draw rows of text into the lower or upper left corner of `image`; those that do not fit are counted there."""
    if not rows:
        return
    height, width = image.shape[:2]
    margin = min(max(2, font_px // 2), (width - 1) // 4)
    line = round(1.6 * font_px)
    fitting = max(1, (height - 3 * margin) // line)
    if len(rows) > fitting:
        rows = [*rows[: fitting - 1], Row(f"+ {len(rows) - fitting + 1} more")]
    texts = [readable(row.text, font_px) for row in rows]
    square = round(1.5 * font_px) if any(row.colour for row in rows) else 0
    figures = round(4.2 * font_px) if any(row.share is not None for row in rows) else 0
    longest = max(round(font.getlength(text)) for text, font in texts)
    inner = min(square + longest + figures, width - 4 * margin)
    panel_width, panel_height = min(inner + 2 * margin, width), min(line * len(rows) + margin, height)
    left, upper = min(margin, width - panel_width), margin
    if at_bottom:
        upper = height - panel_height - margin
    upper = max(0, min(upper, height - panel_height))
    place = (slice(upper, upper + panel_height), slice(left, left + panel_width))
    dark = image[place] * (1 - PANEL_DARKNESS) + PANEL_DARKNESS * np.array(DARK)
    panel = Image.fromarray(dark.round().astype(np.uint8))
    pen = ImageDraw.Draw(panel)
    for number, (row, (text, font)) in enumerate(zip(rows, texts, strict=True)):
        middle = margin // 2 + number * line + line // 2
        if row.colour is not None:
            half = font_px // 2
            pen.rectangle((margin, middle - half, margin + 2 * half, middle + half), fill=row.colour, outline=WHITE)
        if row.share is not None:
            right = panel_width - margin
            full = right - margin
            bottom = middle + line // 2 - 1
            thick = max(1, font_px // 7)
            pen.rectangle((margin, bottom - thick, right, bottom), fill=(70, 74, 80))
            if row.share * full >= 1:
                bar = (margin, bottom - thick, margin + round(row.share * full), bottom)
                pen.rectangle(bar, fill=BAR if number == 0 else PALE_BAR)
            figure, figure_font = readable(f"{100 * row.share:.1f} %", font_px)
            pen.text((right, middle - thick), figure, fill=WHITE, font=figure_font, anchor="rm")
        thick = 0 if row.share is None else max(1, font_px // 7)
        room = panel_width - 2 * margin - square - figures
        pen.text((margin + square, middle - thick), _shortened(text, font, room), fill=WHITE, font=font, anchor="lm")
    image[place] = np.asarray(panel)


def _shortened(text: str, font: object, room: int) -> str:
    """As much of a text as `room` pixels hold, with dots where some is left out."""
    length = font.getlength  # type: ignore[attr-defined]
    if length(text) <= room:
        return text
    keep = len(text)
    while keep > 1 and length(f"{text[:keep]}..") > room:
        keep -= 1
    return f"{text[:keep]}.."
