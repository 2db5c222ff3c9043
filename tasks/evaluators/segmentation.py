"""What is particular to segmentation: how it is scored, written and drawn."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from heads.kinds import Kind
from heads.structures import SegmentationTargets
from tasks.data.splits import SegmentationData
from tasks.drawing.contact_sheet import Pair, contact_sheet, spread
from tasks.drawing.masks import legend, write_palette_png
from tasks.drawing.pairs import mask_pair
from tasks.evaluators.base import Evaluator, merged
from tasks.evaluators.table import ClassRow, print_metrics
from tasks.metrics.miou import MeanIoU, SegmentationScores, mean_iou

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from rich.console import Console

    from heads.structures import Batch, LabelMask

    Seen: TypeAlias = tuple[MeanIoU, dict[int, tuple[tuple[int, ...], bytes]], dict[int, float | None]]


class SegmentationEvaluator(Evaluator[SegmentationData]):
    """Mean IoU over one split, from one confusion matrix of its pixels at the images' own size.

    Answers are kept compressed until they are written: some kilobytes an image.

    Attributes:
        quality: of every image evaluated, its own mean IoU; None where it is all void.
    """

    main_metric = Kind.segmentation.main_metric

    def reset(self) -> None:
        self.measure = MeanIoU(self.labels.names)
        self._scores: SegmentationScores | None = None
        self._found: dict[int, tuple[tuple[int, ...], bytes]] = {}
        self.quality: dict[int, float | None] = {}

    def update(self, batch: Batch, answers: list[LabelMask]) -> None:
        truth = batch.targets[self.name]
        assert isinstance(truth, SegmentationTargets)
        for image_id, mask, answer in zip(batch.image_ids.tolist(), truth.masks, answers, strict=True):
            before = self.measure.counts
            height, width = answer.mask.shape  # a mask is filled up to the largest of its batch
            self.measure.update(mask[:height, :width], answer.mask)
            self.quality[image_id] = mean_iou(self.measure.counts - before.to(self.measure.counts.device))
            self._found[image_id] = tuple(answer.mask.shape), zlib.compress(answer.mask.cpu().numpy().tobytes(), 1)

    def state(self) -> Seen:
        """See `Evaluator.state`."""
        self.measure.counts = self.measure.counts.cpu()
        return self.measure, self._found, self.quality

    def merge(self, state: Seen) -> None:
        """See `Evaluator.merge`."""
        measure, found, quality = state
        self.measure += measure
        self._found = merged(self._found, found)
        self.quality = merged(self.quality, quality)
        self._scores = None

    def scores(self) -> SegmentationScores:
        if self._scores is None:
            self._scores = self.measure.compute()
        return self._scores

    def metrics(self) -> dict[str, float | None]:
        """`miou`, `pixel_accuracy`, `fw_iou`, and `miou/<class>` for every class."""
        scores = self.scores()
        return scores.metrics() | {f"miou/{name}": value for name, value in scores.per_class().items()}

    def show(self, console: Console, title: str) -> None:
        scores = self.scores()
        left_out = f", {len(scores.absent)} classes occur nowhere and are left out" if scores.absent else ""
        print_metrics(
            {"mean IoU": scores.miou, "pixel accuracy": scores.pixel_accuracy, "frequency-weighted": scores.fw_iou},
            [ClassRow(one.name, one.true_pixels, one.iou) for one in scores.classes],
            console, counted="pixels", metric="IoU", title=title, caption=f"{len(self._found)} images{left_out}",
        )  # fmt: skip

    def write(self, folder: Path, suffix: str) -> None:
        """A palette PNG of every answer, named as its image, and a contact sheet of images spread over the split."""
        written = folder / f"predictions{suffix}"
        written.mkdir(exist_ok=True)
        for image_id in self._found:
            write_palette_png(self._mask(image_id), written / f"{self.data.path(image_id).stem}.png")
        pairs: list[Pair] = []
        shown: list[NDArray[np.uint8]] = []
        for position in spread(len(self.data), self.config.drawn_images):
            if position in self._found:
                pair, masks = self.pair(position)
                pairs.append(pair)
                shown += masks
        if pairs:
            path = folder / f"contact_sheet{suffix}.png"
            contact_sheet(pairs, path, title=folder.name, legend=legend(self.labels.names, shown))

    def pair(self, position: int) -> tuple[Pair, list[NDArray[np.uint8]]]:
        """Ground truth and prediction of an image that was evaluated, drawn; and the two masks."""
        sample, found = self.data[position], self._mask(position)
        assert sample.mask is not None
        caption = self.data.path(position).name
        return mask_pair(sample.image, sample.mask, found, names=self.labels.names, caption=caption), [
            sample.mask,
            found,
        ]

    def _mask(self, image_id: int) -> NDArray[np.uint8]:
        shape, packed = self._found[image_id]
        return np.frombuffer(zlib.decompress(packed), np.uint8).reshape(shape)
