"""Writes what was answered about one image: drawn, as masks, and as an entry of the journal. Called in threads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import simplejpeg

from backbone.disk import write_whole, writing
from backbone.errors import InputError
from heads.structures import Classification, Detections, LabelMask
from tasks.commands.predict.journal import CLASSES, DETECTIONS, MASK, Entry
from tasks.commands.predict.results import suffixes
from tasks.drawing.masks import write_palette_png
from tasks.metrics.coco_map import result_entries
from tasks.predictor import best_classes

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from tasks.commands.predict.reading import Loaded
    from tasks.data.labels import LabelMap
    from tasks.predictor import Prediction, Predictor

    Pixels: TypeAlias = NDArray[np.uint8]

QUALITY = 90
PICTURES = "pictures"
MASKS = "masks"
KINDS = {Detections: DETECTIONS, Classification: CLASSES, LabelMask: MASK}


class ResultsWriter:
    """Where the answers about one image after the other are written.

    Args:
        images: write every image with the answers drawn on it.
        hand_back: return the drawn image too, for a video.
    """

    def __init__(self, folder: Path, predictor: Predictor, *, pictures: bool, hand_back: bool) -> None:
        self.folder = folder
        self.predictor = predictor
        self.pictures = pictures
        self.hand_back = hand_back

    def write(self, loaded: Loaded, prediction: Prediction | None, image_id: int) -> tuple[Entry, Pixels | None]:
        """Write the files of one image.

        Returns:
            Its entry, and the drawn image if it is to be handed back.
        Raises:
            InputError: a file cannot be written, or the answer is of an unknown kind or broken.
        """
        entry = Entry(file=loaded.file, name=loaded.name, frame=loaded.frame, stamp=loaded.stamp, error=loaded.error)
        if prediction is None or loaded.image is None:
            return entry, None
        entry.image_id = image_id
        entry.size = list(prediction.size)
        entry.answers = self._plain(prediction, loaded.name, image_id)
        if not (self.pictures or self.hand_back):
            return entry, None
        drawn = self.predictor.draw(loaded.image, prediction)
        if self.pictures:
            write_jpeg(drawn, self.folder / PICTURES / f"{loaded.name}.jpg")
        return entry, drawn if self.hand_back else None

    def _plain(self, prediction: Prediction, name: str, image_id: int) -> dict[str, dict[str, Any]]:
        """The answers for the journal; masks are written."""
        kinds = {head: kind_of(head, answer) for head, answer in prediction.by_head.items()}
        parts = suffixes(kinds)
        labels: Mapping[str, LabelMap] = self.predictor.labels
        plain: dict[str, dict[str, Any]] = {}
        for head, answer in prediction.by_head.items():
            if isinstance(answer, Detections):
                plain[head] = {DETECTIONS: result_entries(image_id, answer, labels[head])}
            elif isinstance(answer, Classification):
                plain[head] = {CLASSES: best_classes(answer, labels[head].names, self.predictor.top)}
            else:
                file = f"{MASKS}{parts[head]}/{name}.png"
                write_palette_png(answer.mask.numpy(), self.folder / file)
                plain[head] = {MASK: file}
        return plain


def kind_of(head: str, answer: object) -> str:
    """In what way a head answers.

    Raises:
        InputError: in one that is not known here.
    """
    if type(answer) not in KINDS:
        raise InputError(
            f"head {head}: answers with {type(answer).__name__}; mode=predict writes"
            f" {', '.join(kind.__name__ for kind in KINDS)}"
        )
    return KINDS[type(answer)]


def write_jpeg(image: Pixels, path: Path) -> None:
    """Write an RGB image (H, W, 3), whole or not at all.

    Raises:
        InputError: the file cannot be written, or a side has more pixels than JPEG can say.
    """
    try:
        data = simplejpeg.encode_jpeg(image, quality=QUALITY, colorspace="RGB", colorsubsampling="444")
    except ValueError as error:
        raise InputError(
            f"{path}: {image.shape[1]} x {image.shape[0]} pixels cannot be written as JPEG ({error}); say"
            " predict.pictures=false"
        ) from None
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, data)
