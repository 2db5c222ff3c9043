"""What a page says of a classifier: accuracy, calibration, what is taken for what, and images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.drawing.contact_sheet import fitted
from tasks.report.charts import calibration_chart
from tasks.report.html import Html, join, tag
from tasks.report.images import card, choose, gallery, jpeg
from tasks.report.metrics import Row, class_bars, confusion, tiles

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tasks.evaluators.classification import ClassificationEvaluator
    from tasks.metrics.accuracy import Accuracy
    from tasks.papers.references import Reference

WORDS = {"top1": "top-1 accuracy", "top5": "top-5 accuracy", "calibration_error": "calibration error"}
MEASURE = "right answers by how sure they are, then wrong ones, the surest last"


def classification_body(evaluator: ClassificationEvaluator, references: Sequence[Reference]) -> Html:
    """Section of an evaluator that has seen its split."""
    measure, names = evaluator.measure, evaluator.labels.names
    metrics = [(WORDS[key], key, number) for key, number in measure.metrics().items()]
    accuracies = measure.per_class(names)
    rows = [
        Row(name, accuracies[name], count, f"top1/{name}")
        for name, count in zip(names, measure.images.tolist(), strict=True)
    ]
    return join(
        [
            tiles(metrics, references),
            confusion(names, measure.confusion.tolist(), counted="images", file="The whole one is in confusion.csv."),
            tag("div", _calibration(measure), class_bars(rows, title="top-1", counted="images"), class_="grid"),
            _gallery(evaluator),
        ]
    )


def _calibration(measure: Accuracy) -> Html | None:
    counts = measure.bin_images.tolist()
    if not any(counts):
        return None
    filled = measure.bin_images.clamp(min=1)
    confidence, accuracy = measure.bin_confidence / filled, measure.bin_correct / filled
    return calibration_chart(confidence.tolist(), accuracy.tolist(), counts)


def _gallery(evaluator: ClassificationEvaluator) -> Html | None:
    names, answers = evaluator.labels.names, evaluator.best
    truth = evaluator.classes.tolist()
    quality = {
        position: scores[0] if classes[0] == truth[position] else -abs(scores[0])
        for position, (scores, classes) in answers.items()
    }

    def drawn(position: int) -> Html:
        scores, classes = answers[position]
        lines = [
            tag(
                "div",
                tag("b", names[index]),
                tag("i", style=f"--v:{max(score, 0):.4f}"),
                tag("span", f"{score:.1%}" if score >= 0 else "no number"),
                class_="right" if index == truth[position] else None,
            )
            for score, index in list(zip(scores, classes, strict=True))[:3]
        ]
        true_name, path = names[truth[position]], evaluator.data.path(position)
        image = jpeg(fitted(evaluator.data[position].image), f"{path.name}: {true_name}")
        said = [tag("span", path.name), tag("div", lines, class_="answers")]
        return tag("div", card(image, true_name, said), class_="single")

    return gallery(choose(quality, evaluator.config.drawn_images), drawn, measure=MEASURE)
