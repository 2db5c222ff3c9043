from __future__ import annotations

import io

from rich.console import Console

from tasks.evaluators.table import ClassRow, class_table, print_metrics, print_scores
from tasks.metrics.coco_map import evaluate_results
from tests.metrics.scenes import thing, truth


def scored():
    ground_truth = truth([thing(10, 3, [0, 0, 20, 20]), thing(20, 6, [50, 50, 100, 100])], categories=4)
    ground_truth["categories"][0]["name"] = "zebra [bold]"
    ground_truth["categories"][2]["name"] = "Apple"
    return evaluate_results(ground_truth, [thing(20, 6, [50, 50, 100, 100], score=0.5)], "pycocotools")


def printed(sort_by: str, width: int = 100) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    print_scores(scored(), console, sort_by, title="val [/] split")
    return console.file.getvalue().splitlines()


def test_the_twelve_figures_with_their_names():
    text = "\n".join(printed("name"))
    assert "val [/] split" in text
    for words in (
        "IoU .50:.95           0.500   at most 1 an image   0.500",
        "medium                    –   medium",
        "0.000",
    ):
        assert words in text
    assert "2 images, 2 objects, 1 detections" in text


def class_column(lines: list[str]) -> list[str]:
    start = next(i for i, line in enumerate(lines) if line.startswith("class"))
    return [line.rsplit(None, 2)[0] for line in lines[start + 1 :]]


def test_classes_by_name_and_by_precision():
    assert class_column(printed("name")) == ["Apple", "c12", "c6", "zebra [bold]"]
    assert class_column(printed("value")) == ["c6", "zebra [bold]", "Apple", "c12"]
    assert printed("value")[-4].split() == ["c6", "1", "1.000"]
    assert printed("value")[-1].split() == ["c12", "0", "–"]


def test_a_class_that_was_only_predicted_is_in_the_mean_and_in_the_table():
    """As in PASCAL VOC: cat never occurs, is predicted, and has an IoU of 0 in the mean (0.5 + 0) / 2."""
    console = Console(file=io.StringIO(), width=80)
    rows = [ClassRow("sky", 10, 0.5), ClassRow("cat", 0, 0.0), ClassRow("dog", 0, None)]
    print_metrics({"mean IoU": 0.25}, rows, console, counted="pixels", metric="IoU", title="", caption="")
    assert class_column(console.file.getvalue().splitlines()) == ["cat", "sky"]


def test_many_classes_stand_side_by_side_and_none_is_lost():
    ground_truth = truth([thing(10, 3, [0, 0, 20, 20])], categories=83)
    scores = evaluate_results(ground_truth, [], "faster_coco_eval")
    for width in (30, 80, 200):
        console = Console(file=io.StringIO(), width=width)
        rows = [ClassRow(one.name, one.objects, one.map) for one in scores.classes]
        console.print(class_table(rows, "objects", "AP", width=width))
        lines = console.file.getvalue().splitlines()
        assert max(map(len, lines)) <= width
        words = console.file.getvalue().split()
        assert all(words.count(scored.name) == 1 for scored in scores.classes)
    assert len(lines) < 30
