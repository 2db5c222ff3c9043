"""Draws boxes with class names and scores on an image.

Boxes are one colour for each class with a dark rim, so that they show on any background; names stand on a plate of
the same colour. Crowd regions are hatched and dashed.
"""

from __future__ import annotations

import colorsys
import functools
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from backbone.errors import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from heads.structures import Detections

Colour = tuple[int, int, int]
Plate = tuple[int, int, int, int]

PALETTE: tuple[Colour, ...] = (
    *((230, 57, 70), (42, 157, 143), (252, 191, 73), (67, 97, 238), (144, 190, 109), (181, 23, 158)),
    *((76, 201, 240), (243, 114, 44), (160, 108, 213), (38, 108, 64), (255, 153, 200), (141, 85, 36)),
    *((173, 232, 64), (29, 53, 137), (255, 214, 165), (128, 15, 47), (112, 214, 189), (120, 120, 130)),
)
"""The first classes; later ones go round the colour circle by the golden ratio."""
DARK: Colour = (20, 20, 24)
WHITE: Colour = (255, 255, 255)
SYSTEM_FONTS = (
    *("DejaVuSans.ttf", "NotoSans-Regular.ttf", "Arial.ttf", "arial.ttf", "segoeui.ttf"),
    *("NotoSansCJK-Regular.ttc", "Arial Unicode.ttf", "PingFang.ttc", "msyh.ttc", "YuGothM.ttc", "malgun.ttf"),
)
"""Asked in turn for a name that the built-in font, which has plain ASCII only, cannot write."""


@dataclass(slots=True)
class Boxes:
    """What is drawn on one image.

    Attributes:
        boxes_xyxy_px: (M, 4), corners in pixels of the image.
        labels: (M,), 0 .. K-1.
        scores: (M,) in [0, 1]; None for ground truth.
        crowd: (M,) bool; None is no crowd region.
    """

    boxes_xyxy_px: NDArray[np.floating]
    labels: NDArray[np.integer]
    scores: NDArray[np.floating] | None = None
    crowd: NDArray[np.bool_] | None = None

    @classmethod
    def of(cls, detections: Detections) -> Self:
        """Detections from any device."""
        return cls(
            boxes_xyxy_px=detections.boxes_xyxy_px.detach().cpu().float().numpy(),
            labels=detections.labels.detach().cpu().numpy(),
            scores=detections.scores.detach().cpu().float().numpy(),
        )

    def __len__(self) -> int:
        return len(self.boxes_xyxy_px)

    def above(self, threshold: float | NDArray[np.float64]) -> Boxes:
        """Those with a score of at least `threshold`, of all classes or of each; all where there are no scores."""
        if self.scores is None:
            return self
        keep = self.scores >= (threshold[self.labels] if isinstance(threshold, np.ndarray) else threshold)
        crowd = None if self.crowd is None else self.crowd[keep]
        return Boxes(self.boxes_xyxy_px[keep], self.labels[keep], self.scores[keep], crowd)

    def scaled(self, factor: float) -> Boxes:
        """For the same image, resized by `factor`."""
        return Boxes(self.boxes_xyxy_px * factor, self.labels, self.scores, self.crowd)


def draw_boxes(
    image: NDArray[np.uint8], boxes: Boxes, names: Sequence[str], font_px: int | None = None
) -> NDArray[np.uint8]:
    """A copy of an RGB image (H, W, 3) with the boxes on it, the best on top.

    Args:
        names: of class 0, 1, ...; any script. Letters that no font here has are written without accents, or as codes.
        font_px: height of the letters; None takes it from the size of the image, as the lines do.
    """
    height, width = image.shape[:2]
    size = font_px or int(np.clip(round(min(height, width) / 26), 11, 40))
    line = max(2, round(min(height, width) / 220))
    drawn = image.copy()
    order = list(range(len(boxes)) if boxes.scores is None else np.argsort(boxes.scores, kind="stable"))
    corners = [_inside(boxes.boxes_xyxy_px[index], width, height) for index in range(len(boxes))]
    crowd = np.zeros(len(boxes), bool) if boxes.crowd is None else boxes.crowd
    for index in order:
        if crowd[index]:
            _hatch(drawn, corners[index], class_colour(int(boxes.labels[index])), 3 * line)
    canvas = Image.fromarray(drawn)
    pen = ImageDraw.Draw(canvas)
    for index in order:
        _outline(pen, corners[index], class_colour(int(boxes.labels[index])), line, dashed=bool(crowd[index]))
    taken: list[Plate] = []
    for index in reversed(order):
        name = names[int(boxes.labels[index])]
        if boxes.scores is not None:
            name = f"{name} {boxes.scores[index]:.2f}"
        elif crowd[index]:
            name = f"{name} (crowd)"
        _name(pen, canvas.size, corners[index], name, class_colour(int(boxes.labels[index])), size, taken)
    return np.asarray(canvas)


@functools.cache
def class_colour(index: int) -> Colour:
    """RGB of a class: the same in every image of every run."""
    if index < len(PALETTE):
        return PALETTE[index]
    hue = index * 0.6180339887 % 1.0
    red, green, blue = colorsys.hls_to_rgb(hue, (0.42, 0.6, 0.72)[index % 3], (0.9, 0.65)[index % 2])
    return round(255 * red), round(255 * green), round(255 * blue)


def readable(text: str, size: int) -> tuple[str, ImageFont.FreeTypeFont]:
    """A text on one line, and a font that has all its letters.

    Where no font on this machine has them, accents are dropped and other letters are written as their code points.
    """
    text = printable(text)
    if text.isascii():
        return text, _built_in_font(size)
    for font in _system_fonts(size):
        if _has_letters(font, text):
            return text, font
    plain = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return plain.encode("ascii", "backslashreplace").decode("ascii"), _built_in_font(size)


@functools.cache
def _built_in_font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont), "Pillow's wheels have FreeType"
    return font


@functools.cache
def _system_fonts(size: int) -> tuple[ImageFont.FreeTypeFont, ...]:
    def load() -> Iterator[ImageFont.FreeTypeFont]:
        for name in SYSTEM_FONTS:
            try:
                yield ImageFont.truetype(name, size)
            except OSError:
                continue

    return tuple(load())


def _has_letters(font: ImageFont.FreeTypeFont, text: str) -> bool:
    """Whether no letter looks like the sign for a missing one."""
    missing = bytes(font.getmask("\U0010fffe"))
    return all(letter.isspace() or bytes(font.getmask(letter)) != missing for letter in set(text))


def _inside(box: NDArray[np.floating], width: int, height: int) -> tuple[int, int, int, int]:
    """Whole pixels inside the image, both corners included."""
    x1, y1 = (int(np.clip(round(float(v)), 0, limit - 1)) for v, limit in zip(box[:2], (width, height), strict=True))
    x2, y2 = (
        int(np.clip(round(float(v)) - 1, 0, limit - 1)) for v, limit in zip(box[2:], (width, height), strict=True)
    )
    return x1, y1, max(x1, x2), max(y1, y2)


def _hatch(image: NDArray[np.uint8], box: tuple[int, int, int, int], colour: Colour, period: int) -> None:
    """Diagonal stripes, half transparent, drawn into `image`."""
    x1, y1, x2, y2 = box
    region = image[y1 : y2 + 1, x1 : x2 + 1]
    rows, columns = np.indices(region.shape[:2])
    striped = (rows + columns) % (2 * period) < max(2, period // 2)
    region[striped] = (0.4 * region[striped] + 0.6 * np.array(colour)).astype(np.uint8)


def _outline(
    pen: ImageDraw.ImageDraw, box: tuple[int, int, int, int], colour: Colour, line: int, *, dashed: bool
) -> None:
    x1, y1, x2, y2 = box
    rim = (max(0, x1 - 1), max(0, y1 - 1), x2 + 1, y2 + 1)
    if not dashed:
        pen.rectangle(rim, outline=DARK, width=line + 2)
        pen.rectangle(box, outline=colour, width=line)
        return
    dash = 4 * line
    for x in range(x1, x2 + 1, 2 * dash):
        end = min(x + dash, x2)
        pen.rectangle((x, y1, end, min(y1 + line - 1, y2)), fill=colour)
        pen.rectangle((x, max(y2 - line + 1, y1), end, y2), fill=colour)
    for y in range(y1, y2 + 1, 2 * dash):
        end = min(y + dash, y2)
        pen.rectangle((x1, y, min(x1 + line - 1, x2), end), fill=colour)
        pen.rectangle((max(x2 - line + 1, x1), y, x2, end), fill=colour)


def _name(
    pen: ImageDraw.ImageDraw,
    image_size: tuple[int, int],
    box: tuple[int, int, int, int],
    text: str,
    colour: Colour,
    size: int,
    taken: list[Plate],
) -> None:
    """A plate with the text at the first free place: above the box, in its top or bottom, below it.

    Where none is free the box is left with its colour: plates upon plates hide both the names and the image.
    """
    text, font = readable(text, size)
    pad = max(2, size // 5)
    width, height = int(pen.textlength(text, font=font)) + 2 * pad, round(1.15 * size) + pad
    x1, y1, _, y2 = box
    x = int(np.clip(x1 - 1, 0, max(0, image_size[0] - width)))
    places = [(x, y, x + width, y + height) for y in (y1 - height, y1, y2 - height + 1, y2 + 1)]
    fitting = [p for p in places if p[1] >= 0 and p[3] <= image_size[1]] or places[1:2]
    free = [p for p in fitting if not any(_overlap(p, other) for other in taken)]
    if not free:
        return
    plate = free[0]
    taken.append(plate)
    pen.rectangle((plate[0], plate[1], plate[2] - 1, plate[3] - 1), fill=colour)
    pen.text((plate[0] + pad, (plate[1] + plate[3]) / 2), text, fill=_ink(colour), font=font, anchor="lm")


def _overlap(a: Plate, b: Plate) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _ink(colour: Colour) -> Colour:
    """Dark or white, so that the contrast to the colour is at least 3 : 1; white as long as it reaches that."""
    red, green, blue = ((value / 255) ** 2.2 for value in colour)
    return DARK if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.28 else WHITE
