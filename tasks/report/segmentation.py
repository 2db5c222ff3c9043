"""What a page says of segmentation: IoU of every class, what is taken for what, and images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.drawing.masks import legend
from tasks.report.html import Html, join
from tasks.report.images import choose, gallery, pair_card
from tasks.report.metrics import Row, class_bars, confusion, tiles

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from tasks.evaluators.segmentation import SegmentationEvaluator
    from tasks.papers.references import Reference

WORDS = {"miou": "mean IoU", "pixel_accuracy": "pixel accuracy", "fw_iou": "frequency-weighted IoU"}


def segmentation_body(evaluator: SegmentationEvaluator, references: Sequence[Reference]) -> Html:
    """Section of an evaluator that has seen its split."""
    scores = evaluator.scores()
    metrics = [(WORDS[key], key, number) for key, number in scores.metrics().items()]
    rows = [Row(one.name, one.iou, one.true_pixels, f"miou/{one.name}") for one in scores.classes]
    counts = evaluator.measure.counts.tolist()
    return join(
        [
            tiles(metrics, references),
            class_bars(rows, title="IoU", counted="pixels"),
            confusion(evaluator.labels.names, counts, counted="pixels"),
            _gallery(evaluator),
        ]
    )


def _gallery(evaluator: SegmentationEvaluator) -> Html | None:
    quality = {position: iou for position, iou in evaluator.quality.items() if iou is not None}
    chosen = choose(quality, evaluator.config.drawn_images)
    shown: list[NDArray[np.uint8]] = []

    def drawn(position: int) -> Html:
        pair, masks = evaluator.pair(position)
        shown.extend(masks)
        return pair_card(pair, f"mean IoU {quality[position]:.2f}")

    cards = {position: drawn(position) for position in (*chosen.best, *chosen.median, *chosen.worst)}
    return gallery(
        chosen, cards.__getitem__, measure="by the mean IoU of the image's own classes",
        legend=legend(evaluator.labels.names, shown) if shown else (),
    )  # fmt: skip
