"""What is particular to classification: how it is scored, written and drawn."""

from __future__ import annotations

import logging
from functools import cached_property
from typing import TYPE_CHECKING

import torch

from heads.kinds import Kind
from tasks.data.splits import ClassificationData
from tasks.drawing.class_sheet import ClassifiedImage, class_sheet
from tasks.drawing.contact_sheet import spread
from tasks.evaluators.base import Evaluator, merged
from tasks.evaluators.table import ClassRow, print_metrics
from tasks.metrics.accuracy import Accuracy
from tasks.runs.tables import write_table

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console
    from torch import Tensor

    from heads.structures import Batch, Classification

log = logging.getLogger(__name__)

NAMED = 5
"""Classes that are written for every image."""
WRONG_SHARE = 2 / 3
"""Share of wrong predictions on the contact sheet, where there are as many wrong answers."""


class ClassificationEvaluator(Evaluator[ClassificationData]):
    """Top-1, top-5, accuracy per class, confusion matrix and calibration of one split.

    Attributes:
        best: of every image evaluated, the largest scores and their classes.
    """

    main_metric = Kind.classification.main_metric

    @cached_property
    def classes(self) -> Tensor:
        """(N,) the true class of every image."""
        return torch.from_numpy(self.data.classes())

    def reset(self) -> None:
        self.measure = Accuracy(self.labels.num_classes)
        self.best: dict[int, tuple[list[float], list[int]]] = {}

    def update(self, batch: Batch, answers: list[Classification]) -> None:
        scores = torch.stack([answer.scores for answer in answers]).cpu()
        image_ids = batch.image_ids.tolist()
        self.measure.update(scores, self.classes[batch.image_ids.cpu()])
        # A stable sort, so that equal scores come in the order of the classes.
        sorted_scores, order = scores.nan_to_num(nan=-1.0).sort(dim=1, descending=True, stable=True)
        for image_id, best, classes in zip(
            image_ids, sorted_scores[:, :NAMED].tolist(), order[:, :NAMED].tolist(), strict=True
        ):
            self.best[image_id] = best, classes

    def state(self) -> tuple[Accuracy, dict[int, tuple[list[float], list[int]]]]:
        """See `Evaluator.state`."""
        return self.measure, self.best

    def merge(self, state: tuple[Accuracy, dict[int, tuple[list[float], list[int]]]]) -> None:
        """See `Evaluator.merge`."""
        measure, best = state
        self.measure += measure
        self.best = merged(self.best, best)

    def metrics(self) -> dict[str, float | None]:
        """`top1`, `top5`, `calibration_error`, and `top1/<class>` for every class."""
        per_class = self.measure.per_class(self.labels.names)
        return self.measure.metrics() | {f"top1/{name}": value for name, value in per_class.items()}

    def show(self, console: Console, title: str) -> None:
        metrics = self.measure.metrics()
        values = self.measure.per_class(self.labels.names)
        images = self.measure.images.tolist()
        if self.measure.unanswered:
            log.warning("%d images got scores that are no numbers; they count as wrong", self.measure.unanswered)
        print_metrics(
            {"top-1": metrics["top1"], "top-5": metrics["top5"], "calibration error": metrics["calibration_error"]},
            [ClassRow(name, count, values[name]) for name, count in zip(self.labels.names, images, strict=True)],
            console, counted="images", metric="top-1", title=title, caption=f"{sum(images)} images",
        )  # fmt: skip

    def write(self, folder: Path, suffix: str) -> None:
        """`predictions.csv`, one row an image with its best classes, `confusion.csv`, true class by predicted, and a
        contact sheet of the surest mistakes and some right answers.
        """
        names = self.labels.names
        columns = [f"{what}_{n}" for n in range(1, min(NAMED, len(names)) + 1) for what in ("class", "p")]
        rows = (
            [self.data.path(position), names[int(self.classes[position])]]
            + [cell for score, index in zip(scores, best, strict=True) for cell in (names[index], f"{score:.4f}")]
            for position, (scores, best) in sorted(self.best.items())
        )
        write_table(folder / f"predictions{suffix}.csv", ["image", "truth", *columns], rows)
        confusion = ([name, *row] for name, row in zip(names, self.measure.confusion.tolist(), strict=True))
        write_table(folder / f"confusion{suffix}.csv", ["truth", *names], confusion)
        right = [position for position in sorted(self.best) if self._is_right(position)]
        wrong = sorted(set(self.best).difference(right), key=lambda position: (-self.best[position][0][0], position))
        count = self.config.drawn_images
        mistakes = wrong[: max(round(WRONG_SHARE * count), count - len(right))]
        drawn = mistakes + [right[place] for place in spread(len(right), count - len(mistakes))]
        if drawn:
            path = folder / f"contact_sheet{suffix}.png"
            note = f"{len(wrong)} of {len(self.best)} images are wrong"
            class_sheet([self._classified(position) for position in drawn], path, title=folder.name, note=note)

    def _is_right(self, position: int) -> bool:
        scores, classes = self.best[position]
        return scores[0] >= 0 and classes[0] == int(self.classes[position])

    def _classified(self, position: int) -> ClassifiedImage:
        (probability, *_), (predicted, *_) = self.best[position]
        return ClassifiedImage(
            image=self.data[position].image,
            truth=self.labels.names[int(self.classes[position])],
            predicted=self.labels.names[predicted],
            probability=probability if probability >= 0 else None,
            caption=self.data.path(position).name,
        )
