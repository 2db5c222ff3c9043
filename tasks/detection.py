"""What is particular to detection: how it is scored, written and drawn."""

from __future__ import annotations

import json
import logging
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from heads.ssdlite.box_coder import to_xyxy
from heads.ssdlite.matcher import area, intersection
from tasks.data.splits import DetectionData
from tasks.data.transforms import MIN_SIDE_PX
from tasks.evaluation.coco_map import CocoMap, CocoScores
from tasks.evaluation.table import print_scores
from tasks.evaluator import Evaluator, merged
from tasks.report.choice import spread
from tasks.report.contact_sheet import Pair, contact_sheet
from tasks.report.draw import Boxes
from tasks.report.pairs import box_pair

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console
    from torch import Tensor

    from heads.ssdlite.head import SSDLite
    from heads.structures import Batch, Detections
    from tasks.data.labels import LabelMap

log = logging.getLogger(__name__)

COVERAGE_SAMPLE = 5000
"""Objects that are looked at to tell what the default boxes cover."""
POORLY_COVERED = 0.5
WORST = 4
"""Classes that are named when default boxes hardly meet them."""


class DetectionEvaluator(Evaluator[DetectionData]):
    """COCO's measure of one split."""

    main_figure = "map"

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

    def seen(self) -> tuple[CocoMap, dict[int, Detections]]:
        """See `Evaluator.seen`."""
        return self.measure.without_truth(), self._found

    def add(self, seen: tuple[CocoMap, dict[int, Detections]]) -> None:
        """See `Evaluator.add`."""
        measure, found = seen
        self.measure += measure
        self._found = merged(self._found, found)
        self._scores = None

    def scores(self) -> CocoScores:
        if self._scores is None:
            self._scores = self.measure.compute()
        return self._scores

    def figures(self) -> dict[str, float | None]:
        """The twelve figures, and `map/<class>` for every class."""
        scores = self.scores()
        return scores.figures() | {f"map/{name}": value for name, value in scores.per_class().items()}

    def show(self, console: Console, title: str) -> None:
        print_scores(self.scores(), console, title=title)

    def write(self, folder: Path, suffix: str) -> None:
        """`predictions.json`, in COCO's results format, and a contact sheet of images spread over the split."""
        results = json.dumps(self.measure.results())
        (folder / f"predictions{suffix}.json").write_text(results, encoding="utf-8")
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


def report_small(data: DetectionData, image_size: int) -> None:
    """Say how many objects have a side of less than a pixel at `image_size`."""
    boxes = np.concatenate([boxes for boxes, _ in data.boxes()])
    small = ((boxes[:, 2:] - boxes[:, :2]) * image_size < MIN_SIDE_PX).any(axis=1)
    if small.any():
        log.warning(
            "%d of %d training objects are narrower than %g pixel at transform.image_size=%d and are not taught",
            small.sum(), len(boxes), MIN_SIDE_PX, image_size,
        )  # fmt: skip


def report_coverage(data: DetectionData, labels: LabelMap, head: SSDLite) -> None:
    """Say what share of a split's objects meets a default box, and which classes hardly do.

    An object that meets none is learned by its one best default box only.
    """
    boxes = torch.from_numpy(np.concatenate([boxes for boxes, _ in data.boxes()]))
    classes = torch.from_numpy(np.concatenate([classes for _, classes in data.boxes()]))
    if len(boxes) == 0:
        return
    some = torch.randperm(len(boxes), generator=torch.Generator().manual_seed(0))[:COVERAGE_SAMPLE]
    matched_iou = head.config.matched_iou
    covered = best_overlap(boxes[some], to_xyxy(head.default_boxes_cxcywh)) >= matched_iou
    share = 100 * covered.float().mean().item()
    log.info("default boxes: %.0f %% of the objects meet one at IoU %g or more", share, matched_iou)
    sides = (boxes[some][:, 2:] - boxes[some][:, :2]).prod(dim=1).sqrt()
    poor = []
    for index, name in enumerate(labels.names):
        of_class = classes[some] == index
        share = covered[of_class].float().mean().item()
        if share < POORLY_COVERED:
            poor.append(
                (share, f"{name} {100 * share:.0f} % (median side {sides[of_class].median():.2f} of the image)")
            )
    if poor:
        log.warning(
            "default boxes: few objects of %d classes meet one: %s%s; set head.min_scale nearer to their size",
            len(poor), ", ".join(text for _, text in sorted(poor)[:WORST]), " .." if len(poor) > WORST else "",
        )  # fmt: skip


def best_overlap(boxes_xyxy: Tensor, default_boxes_xyxy: Tensor) -> Tensor:
    """Largest IoU (M,) of each box (M, 4) with any default box (A, 4)."""
    best = []
    for part in torch.split(boxes_xyxy, 500):
        shared = intersection(part, default_boxes_xyxy)
        best.append((shared / (area(part)[:, None] + area(default_boxes_xyxy) - shared)).amax(dim=1))
    return torch.cat(best)
