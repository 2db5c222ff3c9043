"""What a page says of a detector: COCO's metrics, precision against recall, why detections are wrong, and images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tasks.evaluators.detection import NOT_FOUND
from tasks.metrics.error_analysis import FOUND_IOU, ErrorAnalysis, Matches, analyse, match
from tasks.report.charts import Series, line_chart
from tasks.report.html import Html, join, tag
from tasks.report.images import choose, gallery, pair_card
from tasks.report.metrics import Row, amounts, class_bars, confusion, tiles, value

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tasks.evaluators.detection import DetectionEvaluator
    from tasks.metrics.coco_map import CocoScores
    from tasks.papers.references import Reference

WORDS = {
    "map": "average precision, IoU .50:.95",
    "map_50": "AP at IoU .50",
    "map_75": "AP at IoU .75",
    "mar_1": "recall, 1 an image",
    "mar_10": "recall, 10 an image",
    "mar_100": "recall, 100 an image",
}
SIZES = {"small": "below 32² px", "medium": "", "large": "above 96² px"}
MEANINGS = {
    "classification": "right place, wrong class",
    "localisation": "right class, IoU below 0.5",
    "both": "wrong class, and IoU below 0.5",
    "duplicate": "the object was found already",
    "background": "there is nothing",
    "missed": "objects that nothing came near",
    "false positives": "all wrong detections together",
    "false negatives": "all objects not found together",
}
RECALLS = np.linspace(0, 1, 101)
CURVES = ((0, "IoU .50"), (5, "IoU .75"), (9, "IoU .95"))
"""Rows of COCO's thresholds that are drawn beside their mean."""


def detection_body(evaluator: DetectionEvaluator, references: Sequence[Reference]) -> Html:
    """Section of an evaluator that has seen its split."""
    matches = match(evaluator.truth, evaluator.measure.results())
    positions = {image["id"]: position for position, image in enumerate(evaluator.truth["images"])}
    threshold = evaluator.config.drawn_score
    quality = matches.image_quality(list(positions), threshold)
    ranked = {positions[image_id]: f1 for image_id, f1 in quality.items()}
    return join(
        [
            scores_body(evaluator.scores(), matches, references),
            confusion(
                *evaluator.confusion(),
                counted="objects",
                last=NOT_FOUND,
                file=f"At a score of {threshold:g} and IoU {FOUND_IOU:g}; the whole one is in confusion.csv.",
            ),
            gallery(
                choose(ranked, evaluator.config.drawn_images),
                lambda position: pair_card(evaluator.pair(position), f"F1 {ranked[position]:.2f}"),
                measure=f"by F1 of the detections with a score of at least {threshold:g}, at IoU {FOUND_IOU:g}",
            ),
        ]
    )


def results_body(ground_truth: dict[str, Any], results: list[dict[str, Any]], scores: CocoScores) -> Html:
    """Section of anybody's results file: the same without images."""
    return scores_body(scores, match(ground_truth, results), [])


def scores_body(scores: CocoScores, matches: Matches, references: Sequence[Reference]) -> Html:
    """Metrics, curves, classes and errors."""
    numbers = scores.metrics()
    metrics = [(words, key, numbers[key]) for key, words in WORDS.items()]
    rows = [Row(one.name, one.map, one.objects, f"map/{one.name}") for one in scores.classes]
    return join(
        [
            tiles(metrics, references),
            tag(
                "div",
                tag("div", _precision_recall(scores), _by_size(numbers), class_="stack"),
                _errors(analyse(matches)),
                class_="grid",
            ),
            class_bars(rows, title="AP", counted="objects"),
        ]
    )


def _precision_recall(scores: CocoScores) -> Html | None:
    """Precision at every recall, the mean over the classes that have objects."""
    there = scores.precision[0, 0] > -1
    if not there.any():
        return None
    by_threshold = scores.precision[:, :, there].mean(axis=2)
    lines = [
        Series(name, RECALLS.tolist(), by_threshold[row].tolist(), tone) for tone, (row, name) in enumerate(CURVES, 1)
    ]
    lines.insert(0, Series("mean of .50:.95", RECALLS.tolist(), by_threshold.mean(axis=0).tolist()))
    note = f"precision against recall, mean of {there.sum()} classes"
    return line_chart(lines, title="Precision and recall", x_label="recall", unit=True, note=note)


def _by_size(numbers: Mapping[str, float | None]) -> Html:
    """Precision and recall of small, medium and large objects."""
    lines = [
        tag(
            "tr",
            tag("th", size, tag("small", meaning), scope="row"),
            [
                [
                    tag("td", tag("i", style=f"--v:{numbers[key] or 0:.4f}"), class_="bar"),
                    tag("td", value(numbers[key], key)),
                ]
                for key in (f"map_{size}", f"mar_{size}")
            ],
        )
        for size, meaning in SIZES.items()
    ]
    head = tag("tr", tag("th"), [[tag("th"), tag("th", what)] for what in ("precision", "recall")], class_="head")
    caption = tag("figcaption", tag("b", "By size of the object"))
    table = tag("table", tag("thead", head), tag("tbody", lines), class_="bars two")
    return tag("figure", caption, table, class_="card")


def _errors(analysis: ErrorAnalysis) -> Html | None:
    if analysis.precision is None:
        return None
    kinds = sorted(analysis.kinds, key=lambda one: -one.gain)
    rows = [
        (one.name, MEANINGS[one.name], one.gain, f"{one.count:,}|+{100 * one.gain:.1f}")
        for one in (*kinds, analysis.false_positives, analysis.false_negatives)
    ]
    note = "what mending each kind alone would add to AP at IoU .50, in points of 100 (TIDE); any score counts"
    return amounts(rows, title="What goes wrong", note=note, heads=("mistake", "", "count", "AP"))
