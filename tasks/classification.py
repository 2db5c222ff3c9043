"""What is particular to classification: how it is scored, written and drawn."""

from __future__ import annotations

import csv
import logging
from typing import TYPE_CHECKING

import torch

from tasks.evaluation.accuracy import Accuracy
from tasks.evaluation.table import ClassRow, print_figures

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from heads.structures import Batch, Classification
    from tasks.config import EvaluationConfig
    from tasks.data.labels import LabelMap
    from tasks.data.splits import ClassificationData

log = logging.getLogger(__name__)

NAMED = 5
"""Classes that are written for every image."""


class ClassificationEvaluator:
    """Top-1, top-5, accuracy per class, confusion matrix and calibration of one split.

    Args:
        name: of the head.
        data: the split.
        labels: of the model; class indices mean these.
    """

    main_figure = "top1"

    def __init__(self, name: str, data: ClassificationData, labels: LabelMap, config: EvaluationConfig) -> None:
        self.name = name
        self.data = data
        self.labels = labels
        self.config = config
        self.classes = torch.from_numpy(data.classes())
        self.reset()

    def reset(self) -> None:
        self.measure = Accuracy(self.labels.num_classes)
        self._best: dict[int, tuple[list[float], list[int]]] = {}

    def update(self, batch: Batch, answers: list[Classification]) -> None:
        scores = torch.stack([answer.scores for answer in answers]).cpu()
        image_ids = batch.image_ids.tolist()
        self.measure.update(scores, self.classes[batch.image_ids.cpu()])
        # A stable sort, so that equal scores come in the order of the classes.
        sorted_scores, order = scores.nan_to_num(nan=-1.0).sort(dim=1, descending=True, stable=True)
        for image_id, best, classes in zip(
            image_ids, sorted_scores[:, :NAMED].tolist(), order[:, :NAMED].tolist(), strict=True
        ):
            self._best[image_id] = best, classes

    def figures(self) -> dict[str, float | None]:
        """`top1`, `top5`, `calibration_error`, and `top1/<class>` for every class."""
        per_class = self.measure.per_class(self.labels.names)
        return self.measure.figures() | {f"top1/{name}": value for name, value in per_class.items()}

    def show(self, console: Console, title: str) -> None:
        figures = self.measure.figures()
        values = self.measure.per_class(self.labels.names)
        images = self.measure.images.tolist()
        if self.measure.unanswered:
            log.warning("%d images got scores that are no numbers; they count as wrong", self.measure.unanswered)
        print_figures(
            {"top-1": figures["top1"], "top-5": figures["top5"], "calibration error": figures["calibration_error"]},
            [ClassRow(name, count, values[name]) for name, count in zip(self.labels.names, images, strict=True)],
            console, counted="images", figure="top-1", title=title, caption=f"{sum(images)} images",
        )  # fmt: skip

    def write(self, folder: Path, suffix: str) -> None:
        """`predictions.csv`, one row an image with its best classes, and `confusion.csv`, true class by predicted."""
        names = self.labels.names
        with (folder / f"predictions{suffix}.csv").open("w", encoding="utf-8", newline="") as file:
            rows = csv.writer(file)
            count = min(NAMED, len(names))
            rows.writerow(["image", "truth", *(f"{what}_{n}" for n in range(1, count + 1) for what in ("class", "p"))])
            for position, (scores, classes) in sorted(self._best.items()):
                best = zip(scores, classes, strict=True)
                answers = [cell for score, index in best for cell in (names[index], f"{score:.4f}")]
                rows.writerow([self.data.path(position), names[int(self.classes[position])], *answers])
        with (folder / f"confusion{suffix}.csv").open("w", encoding="utf-8", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["truth", *names])
            rows.writerows([name, *row] for name, row in zip(names, self.measure.confusion.tolist(), strict=True))
