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
from tasks.metrics.coco_map import CocoMap, CocoScores

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from heads.structures import Batch, Detections

log = logging.getLogger(__name__)


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
        """`predictions.json`, in COCO's results format, and a contact sheet of images spread over the split."""
        results = json.dumps(self.measure.results())
        write_whole(folder / f"predictions{suffix}.json", results)
        pairs = [self.pair(position) for position in spread(len(self.data), self.config.drawn_images)]
        if pairs:
            path = folder / f"contact_sheet{suffix}.png"
            note = f"predictions with a score of at least {self.config.drawn_score:g}"
            contact_sheet(pairs, path, title=folder.name, note=note)

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
