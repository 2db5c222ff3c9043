"""A model that predicts on images: arrays in, typed predictions of every head out.

Shapes: N images, H W pixels.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import numpy as np
import torch

from backbone.errors import InputError
from heads.structures import Classification, Detections, LabelMask
from heads.tiling import merge_boxes, merge_masks
from tasks.config.predict import SCORE
from tasks.data.sample import Sample
from tasks.drawing.predictions import draw_predictions
from tasks.inference import computing, predict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from heads.tiling import Tile, Tiling
    from tasks.data.labels import LabelMap
    from tasks.data.sample import Transform
    from tasks.model import VisionModel

    Pixels: TypeAlias = NDArray[np.uint8]

Name = TypeVar("Name")
HeadPrediction: TypeAlias = Classification | Detections | LabelMask

log = logging.getLogger(__name__)

NMS_IOU, MOST = 0.5, 300
"""Overlap and number of boxes of a detector that does not say its own."""
SHOWN = 5
"""Classes and detections that are printed of an answer."""


@dataclass(slots=True)
class Prediction:
    """What every head of a model says about one image. Tensors are on the CPU.

    Attributes:
        size: height and width of the image in pixels; boxes and masks are in these.
        by_head: predictions by the head's name.
        names: of each head's classes; labels are positions in them.
    """

    size: tuple[int, int]
    by_head: dict[str, HeadPrediction]
    names: dict[str, tuple[str, ...]]

    def __getitem__(self, head: str) -> HeadPrediction:
        """The prediction of one head.

        Raises:
            InputError: the model has no such head; the message lists those that it has.
        """
        if head not in self.by_head:
            raise InputError(f"the model has no head {head!r}; it has {', '.join(self.by_head)}")
        return self.by_head[head]

    def __str__(self) -> str:
        return "\n".join(f"{head}: {_told(answer, self.names[head])}" for head, answer in self.by_head.items())


class Predictor:
    """A model with all that is needed to use it.

    Args:
        labels: of every head, by its name.
        transform: from an image to what the model sees.
        same_size: whether it gives all images one size; otherwise the model sees them one by one.
        device: where the model runs; it is moved there.
        precision: 32-true, bf16-mixed or 16-mixed.
        multi_scale: average segmentation over several scales (see `tasks.inference`).
        batch_size: images that the model sees at once.
        score: detections below it are not drawn, unless `draw` is told otherwise; by the class's name, `SCORE` of
            those that are not named.
        overlay: opacity of masks when drawn.
        top: classes that are drawn for an image.
        tiling: looks at large images in tiles too; None: as a whole alone.
    """

    def __init__(
        self,
        model: VisionModel,
        labels: Mapping[str, LabelMap],
        transform: Transform,
        *,
        same_size: bool = True,
        device: torch.device | str = "cpu",
        precision: str = "32-true",
        multi_scale: bool = False,
        batch_size: int = 16,
        score: float | Mapping[str, float] = SCORE,
        overlay: float = 0.6,
        top: int = 5,
        tiling: Tiling | None = None,
    ) -> None:
        self.device = torch.device(device)
        self.model = model.to(self.device).eval()
        self.labels = dict(labels)
        self.transform = transform
        self.precision = precision
        self.multi_scale = multi_scale
        self.batch_size = batch_size if same_size else 1
        self.score = score
        self.overlay = overlay
        self.top = top
        self.tiling = tiling
        self._said_tiles = False

    @property
    def heads(self) -> tuple[str, ...]:
        """Names of the heads."""
        return tuple(self.model.heads)

    def __call__(self, image: Pixels) -> Prediction:
        """What the model says about one image (H, W, 3), uint8 RGB.

        Raises:
            InputError: the array is no such image.
        """
        return self.batch([image])[0]

    def batch(self, images: Sequence[Pixels]) -> list[Prediction]:
        """What the model says about images of any sizes, in their order."""
        seen = [self.see(image) for image in images]
        sizes = [image.shape[:2] for image in images]
        found: list[Prediction] = []
        for _, same in groupby(zip(seen, sizes, strict=True), key=lambda one: one[0].shape):
            alike = list(same)
            for start in range(0, len(alike), self.batch_size):
                views, shapes = zip(*alike[start : start + self.batch_size], strict=True)
                found += self.predict(views, shapes)
        return [self.in_tiles(image, whole) for image, whole in zip(images, found, strict=True)]

    def in_tiles(self, image: Pixels, whole: Prediction) -> Prediction:
        """The prediction about an image with what its tiles show, where it is looked at in tiles.

        Args:
            image: (H, W, 3) uint8.
            whole: of the image as a whole; classes stay as they are.
        """
        tiles = self.tiling.of(*whole.size) if self.tiling is not None else []
        if not tiles or all(isinstance(answer, Classification) for answer in whole.by_head.values()):
            return whole
        self._say_tiles(whole.size, tiles)
        parts = self.batch([image[t.top : t.top + t.height, t.left : t.left + t.width] for t in tiles])
        answers = dict(whole.by_head)
        for head, answer in whole.by_head.items():
            of_tiles: list[Any] = [part.by_head[head] for part in parts]
            if isinstance(answer, Detections):
                nms_iou, most = suppression(self.model.heads[head])
                answers[head] = merge_boxes(answer, tiles, of_tiles, whole.size, nms_iou=nms_iou, most=most)
            elif isinstance(answer, LabelMask):
                answers[head] = merge_masks(tiles, of_tiles, whole.size)
        return Prediction(whole.size, answers, whole.names)

    def _say_tiles(self, size: tuple[int, int], tiles: Sequence[Tile]) -> None:
        """One line, the first time, where nobody said how large they are."""
        if self._said_tiles or self.tiling is None or self.tiling.side is not None:
            return
        self._said_tiles = True
        log.info(
            "predict.tiles=auto: of an image of %d x %d pixels as a whole the model sees objects of the usual %.0f"
            " pixels at %.1f, so it looks at %d tiles of %d pixels, too; predict.tiles=null leaves them out",
            size[1], size[0], self.tiling.object_side or 0, self.tiling.seen(max(size)) or 0, len(tiles),
            tiles[0].width,
        )  # fmt: skip

    def see(self, image: Pixels) -> Pixels:
        """What the model gets to see of an image, still uint8. May be called in any thread.

        Raises:
            InputError: the array is not (H, W, 3) uint8 with at least one pixel.
        """
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
            raise InputError(
                f"image: is an array {image.shape} of {image.dtype}; must be (height, width, 3) of uint8, RGB"
            )
        sample = Sample(image=image, image_id=0, size=(image.shape[0], image.shape[1]))
        return self.transform(sample, 0).image

    def predict(self, seen: Sequence[Pixels], sizes: Sequence[tuple[int, ...]]) -> list[Prediction]:
        """Predictions for views that `see` gave, all of one shape, and the sizes of the images that they are of."""
        images = torch.from_numpy(np.stack(seen)).permute(0, 3, 1, 2).to(self.device)
        heights_widths = torch.tensor([size[:2] for size in sizes], dtype=torch.int64, device=self.device)
        with computing(self.device, self.precision):
            by_head = predict(self.model, images, heights_widths, multi_scale=self.multi_scale)
        names = {head: labels.names for head, labels in self.labels.items()}
        return [
            Prediction((size[0], size[1]), {head: found[row].to("cpu") for head, found in by_head.items()}, names)
            for row, size in enumerate(sizes)
        ]

    def draw(self, image: Pixels, prediction: Prediction, score: float | Mapping[str, float] | None = None) -> Pixels:
        """A copy of an image (H, W, 3) with the predictions of all heads on it.

        Args:
            prediction: of this very image.
            score: detections below it are not drawn, for all classes or by name; None is the predictor's own.
        Raises:
            InputError: the prediction is of an image of another size.
        """
        if image.shape[:2] != prediction.size:
            raise InputError(
                f"drawing: a prediction for an image of {prediction.size} on one of {image.shape[:2]} (height, width);"
                " give the image that was predicted on"
            )
        least = self.score if score is None else score
        return draw_predictions(
            image, prediction.by_head, prediction.names, score=least, overlay=self.overlay, top=self.top
        )


def suppression(head: Any) -> tuple[float, int]:
    """Overlap that suppresses a box of a detector, ours or of an exported file, and how many boxes it keeps."""
    config = getattr(head, "config", None)
    if config is not None:
        return getattr(config, "nms_iou", NMS_IOU), getattr(config, "max_detections", MOST)
    settings = getattr(head, "settings", {})
    return settings.get("nms_iou", NMS_IOU), settings.get("detections", MOST)


def best_classes(answer: Classification, names: Sequence[Name], count: int) -> list[tuple[Name, float]]:
    """The most probable classes and their probabilities; of equal ones the earlier class first.

    Args:
        names: what stands for each class in the result.
    """
    scores, order = answer.scores.nan_to_num(nan=-1.0).sort(descending=True, stable=True)
    best = zip(scores[:count].tolist(), order[:count].tolist(), strict=True)
    return [(names[index], score) for score, index in best]


def _told(found: HeadPrediction, names: Sequence[str]) -> str:
    """In a few words."""
    if isinstance(found, Classification):
        return ", ".join(f"{name} {share:.3f}" for name, share in best_classes(found, names, SHOWN))
    if isinstance(found, Detections):
        rows = zip(found.labels.tolist(), found.scores.tolist(), found.boxes_xyxy_px.tolist(), strict=True)
        best = [f"{names[label]} {score:.2f} at {[round(x) for x in box]}" for label, score, box in list(rows)[:SHOWN]]
        more = len(found.labels) - len(best)
        return (", ".join(best) or "nothing") + (f" and {more} more" if more else "")
    counts = torch.bincount(found.mask.flatten(), minlength=len(names)).tolist()
    shares = sorted(zip(counts, names, strict=False), reverse=True)
    return ", ".join(f"{name} {count / found.mask.numel():.1%}" for count, name in shares if count)
