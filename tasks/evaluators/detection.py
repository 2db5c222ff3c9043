"""What is particular to detection: how it is scored, written and drawn."""

from __future__ import annotations

import json
import logging
from functools import cached_property
from typing import TYPE_CHECKING, Any

from backbone.disk import write_whole
from heads.kinds import Kind
from tasks.data.splits import DetectionData
from tasks.drawing.boxes import Boxes
from tasks.drawing.contact_sheet import Pair, contact_sheet, spread
from tasks.drawing.pairs import box_pair
from tasks.evaluators.base import Evaluator, merged
from tasks.evaluators.table import print_scores
from tasks.metrics import operating_point
from tasks.metrics.coco_map import CocoMap, CocoScores
from tasks.metrics.error_analysis import match
from tasks.runs import best_scores
from tasks.runs.tables import write_table

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from heads.structures import Batch, Detections

log = logging.getLogger(__name__)

NOTHING, NOT_FOUND = "nothing there", "not found"
"""Names in the confusion matrix: its last row and its last column."""


class DetectionEvaluator(Evaluator[DetectionData]):
    """COCO's measure of one split."""

    main_metric = Kind.detection.main_metric

    @cached_property
    def truth(self) -> dict[str, Any]:
        """In COCO's format."""
        return self.data.ground_truth()

    def reset(self) -> None:
        self.measure = CocoMap(self.truth, self.config.backend.value, self.labels)
        self._scores: CocoScores | None = None
        self._found: dict[int, Detections] = {}

    def update(self, batch: Batch, answers: list[Detections]) -> None:
        image_ids = batch.image_ids.tolist()
        self.measure.update(image_ids, answers)
        self._found.update(zip(image_ids, (found.to("cpu") for found in answers), strict=True))

    def state(self) -> tuple[CocoMap, dict[int, Detections]]:
        """See `Evaluator.state`."""
        return self.measure.without_truth(), self._found

    def merge(self, state: tuple[CocoMap, dict[int, Detections]]) -> None:
        """See `Evaluator.merge`."""
        measure, found = state
        self.measure += measure
        self._found = merged(self._found, found)
        self._scores = None

    def scores(self) -> CocoScores:
        if self._scores is None:
            self._scores = self.measure.compute()
        return self._scores

    def metrics(self) -> dict[str, float | None]:
        """The twelve metrics, and `map/<class>` for every class."""
        scores = self.scores()
        return scores.metrics() | {f"map/{name}": value for name, value in scores.per_class().items()}

    def show(self, console: Console, title: str) -> None:
        print_scores(self.scores(), console, title=title)

    def write(self, folder: Path, suffix: str) -> None:
        """`predictions.json`, in COCO's results format, `best_scores.json`, `confusion.csv`, and a contact sheet of
        images spread over the split.
        """
        results = self.measure.results()
        write_whole(folder / f"predictions{suffix}.json", json.dumps(results))
        best_scores.write(folder, suffix, self.best_scores())
        names, counts = self.confusion()
        rows = ([name, *row] for name, row in zip(names, counts, strict=True))
        write_table(folder / f"confusion{suffix}.csv", ["truth", *names[:-1], NOT_FOUND], rows)
        pairs = [self.pair(position) for position in spread(len(self.data), self.config.drawn_images)]
        if pairs:
            path = folder / f"contact_sheet{suffix}.png"
            note = f"predictions with a score of at least {self.config.drawn_score:g}"
            contact_sheet(pairs, path, title=folder.name, note=note)

    def best_scores(self) -> dict[str, float]:
        """From which score on the detections of each class have the largest F1; without a right one there is none."""
        found = operating_point.best_scores(match(self.truth, self.measure.results()))
        names = {one["id"]: one["name"] for one in self.truth["categories"]}
        ids = sorted(names)
        return {names[one]: score for one, score in zip(ids, found, strict=True) if score is not None}

    def confusion(self) -> tuple[list[str], list[list[int]]]:
        """Names of the rows, and what was taken for what at the score that is drawn; see `tasks.metrics`."""
        ids, least = self.labels.ids, [self.config.drawn_score] * len(self.labels.ids)
        counts = operating_point.confusion(self.truth, self.measure.results(), ids, least)
        return [*self.labels.names, NOTHING], counts.tolist()

    def pair(self, position: int) -> Pair:
        """Ground truth and prediction of an image, drawn."""
        sample = self.data[position]
        return box_pair(
            sample.image,
            Boxes(sample.boxes_xyxy_px, sample.labels, crowd=sample.crowd),
            Boxes.of(self._found[sample.image_id]),
            names=self.labels.names,
            score_threshold=self.config.drawn_score,
            caption=self.data.path(position).name,
        )
