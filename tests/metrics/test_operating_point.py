"""Scores and confusion of a detector against loops over every threshold, and by hand."""

from __future__ import annotations

from typing import Any

import pytest

from tasks.metrics.error_analysis import RIGHT, match
from tasks.metrics.operating_point import best_scores, confusion
from tests.metrics.scenes import chance, perturbed


def test_the_best_score_of_every_class_by_trying_all() -> None:
    for seed in range(20):
        truth = chance(seed)
        matches = match(truth, perturbed(truth, seed, ties=seed % 2 == 0))
        for label, found in enumerate(best_scores(matches)):
            mine = (matches.labels == label) & ~matches.excused
            objects = int((matches.object_labels == label).sum())
            best, wanted = 0.0, None
            for score in sorted(set(matches.scores[mine].tolist()), reverse=True):
                kept = mine & (matches.scores >= score)
                f1 = 2 * int((matches.kind[kept] == RIGHT).sum()) / (int(kept.sum()) + objects)
                if objects and f1 > best + 1e-12:
                    best, wanted = f1, score
            assert found == wanted


def box(image: int, category: int, x: float, score: float | None = None, **more: Any) -> dict[str, Any]:
    scored = {} if score is None else {"score": score}
    return {"image_id": image, "category_id": category, "bbox": [x, 0, 10, 10], **scored, **more}


def test_confusion_by_hand() -> None:
    """Classes 3 and 8: found, taken for the other, found twice, missed, seen where nothing is, and in a crowd."""
    truth = {
        "annotations": [
            box(1, 3, 0), box(1, 3, 20), box(1, 8, 40), box(1, 8, 60), box(2, 3, 0), box(2, 8, 50, iscrowd=1),
        ]
    }  # fmt: skip
    results = [
        box(1, 3, 0, 0.9), box(1, 3, 1, 0.8), box(1, 8, 21, 0.7), box(1, 8, 41, 0.6), box(1, 8, 60, 0.2),
        box(2, 8, 100, 0.9), box(2, 8, 50, 0.9), box(2, 3, 52, 0.9), box(3, 3, 0, 0.5),
    ]  # fmt: skip
    counts = confusion(truth, results, [3, 8], [0.5, 0.3])
    assert counts.tolist() == [[1, 1, 1], [0, 1, 1], [3, 1, 0]]
    assert confusion({"annotations": []}, [], [3, 8], [0.5, 0.3]).sum() == 0


def test_the_right_class_goes_first() -> None:
    """A better detection of another class does not take an object that one of its own class finds."""
    truth = {"annotations": [box(1, 3, 0)]}
    counts = confusion(truth, [box(1, 8, 0, 0.9), box(1, 3, 2, 0.4)], [3, 8], [0.0, 0.0])
    assert counts.tolist() == [[1, 0, 0], [0, 0, 0], [0, 1, 0]]


@pytest.mark.parametrize("scored", [True, False])
def test_rows_are_objects_and_columns_detections(scored: bool) -> None:
    truth = chance(1)
    results = perturbed(truth, 1, ties=False)
    ids = sorted(one["id"] for one in truth["categories"])
    counts = confusion(truth, results if scored else [], ids, [0.0] * len(ids))
    objects = [sum(a["category_id"] == one and not a.get("iscrowd") for a in truth["annotations"]) for one in ids]
    assert counts[:-1].sum(axis=1).tolist() == objects
