"""From the bytes of an image file to what every head says, as plain data for the page."""

from __future__ import annotations

import base64
from time import perf_counter
from typing import TYPE_CHECKING, Any

from backbone.errors import InputError
from heads.structures import Classification, Detections, LabelMask
from tasks.data.files.encoded import EncodedImage
from tasks.data.files.images import AVIF_MAGICS, JPEG_MAGIC, MEGAPIXEL, REMEDY, TIFF_MAGICS
from tasks.predictor import best_classes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tasks.predictor import HeadPrediction, Predictor

MAGICS = (JPEG_MAGIC, b"\x89PNG\r\n\x1a\n", b"GIF8", b"BM", *TIFF_MAGICS)
"""How files of a format begin."""
KNOWN = "JPEG, PNG, WebP, GIF, BMP, AVIF or TIFF"


class TooLargeError(InputError):
    """An image has more pixels than are allowed."""


class Answerer:
    """A model's predictions for image files, as mode=predict makes them.

    Args:
        max_megapixels: images with more pixels, in millions, are refused before they are decoded.
        tiled: looks at large images in tiles too, which takes a pass for each batch of them.
    """

    def __init__(self, predictor: Predictor, max_megapixels: float, *, tiled: bool = False) -> None:
        self.predictor = predictor
        self.max_megapixels = max_megapixels
        self.tiled = tiled

    def __call__(self, data: bytes) -> dict[str, Any]:
        """What the heads say about one image: its `width` and `height`, `predictions` by head, `times` in milliseconds.

        Raises:
            InputError: the file is no image, broken, or too large; or a head's answer is of a kind that is not known.
        """
        start = perf_counter()
        image = self._decode(data)
        view = self.predictor.see(image)
        seen = perf_counter()
        prediction = self.predictor.predict([view], [image.shape[:2]])[0]
        if self.tiled:
            prediction = self.predictor.in_tiles(image, prediction)
        ran = perf_counter()
        names = {head: labels.names for head, labels in self.predictor.labels.items()}
        found = {
            head: plain(head, answer, names[head], self.predictor.top) for head, answer in prediction.by_head.items()
        }
        times = {"view": seen - start, "model": ran - seen, "plain": perf_counter() - ran}
        height, width = prediction.size
        return {
            "width": width, "height": height, "predictions": found,
            "times": {part: 1000 * seconds for part, seconds in times.items()},
        }  # fmt: skip

    def _decode(self, data: bytes) -> Any:
        if not is_known(data):
            raise InputError(f"is no image: must be {KNOWN}")
        try:
            image = EncodedImage("image", data, None)
            height, width = image.size
            if height * width > self.max_megapixels * MEGAPIXEL:
                raise TooLargeError(
                    f"has {width} x {height} pixels; demo.max_megapixels={self.max_megapixels:g} are allowed"
                )
            return image.decode()
        except TooLargeError:
            raise
        except InputError as error:
            raise InputError(str(error).removeprefix("image: ").removesuffix(f"; {REMEDY}")) from error


def is_known(data: bytes) -> bool:
    """Whether a file begins as one of the formats that are taken."""
    is_webp = data.startswith(b"RIFF") and data.startswith(b"WEBP", 8)
    return data.startswith(MAGICS) or data.startswith(AVIF_MAGICS, 4) or is_webp


def plain(head: str, answer: HeadPrediction, names: Sequence[str], top: int) -> dict[str, Any]:
    """One head's answer as plain data, in pixels of the image.

    Args:
        top: classes that are told of a classification.
    Raises:
        InputError: it is of a kind that the page does not know.
    """
    if isinstance(answer, Classification):
        best = best_classes(answer, range(len(names)), top)
        classes = [{"label": label, "name": names[label], "score": score} for label, score in best]
        return {"kind": "classification", "classes": classes}
    if isinstance(answer, Detections):
        rows = zip(answer.labels.tolist(), answer.scores.tolist(), answer.boxes_xyxy_px.tolist(), strict=True)
        found = [{"label": label, "name": names[label], "score": score, "box": box} for label, score, box in rows]
        return {"kind": "detection", "detections": found}
    if isinstance(answer, LabelMask):
        return {"kind": "segmentation", "mask": base64.b64encode(answer.mask.numpy().tobytes()).decode()}
    raise InputError(
        f"head {head}: answers with {type(answer).__name__}; mode=demo shows Detections, Classification, LabelMask"
    )
