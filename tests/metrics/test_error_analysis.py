"""Oracle: arithmetic by hand, and pycocotools' precision at IoU 0.5."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.metrics.coco_map import evaluate_results
from tasks.metrics.error_analysis import KINDS, RIGHT, analyse, match
from tests.metrics.scenes import chance, perturbed, thing, truth

BOX = [0.0, 0.0, 100.0, 100.0]


def counts(annotations, results):
    analysis = analyse(match(truth(annotations), results))
    return {one.name: one.count for one in analysis.kinds if one.count}


def gains(annotations, results):
    analysis = analyse(match(truth(annotations), results))
    return {one.name: pytest.approx(one.gain) for one in analysis.kinds if one.gain}


@pytest.mark.parametrize(
    ("kind", "category", "bbox"),
    [
        ("localisation", 3, [0.0, 0.0, 40.0, 100.0]),
        ("classification", 6, [0.0, 0.0, 90.0, 100.0]),
        ("both", 6, [0.0, 0.0, 40.0, 100.0]),
        ("background", 3, [0.0, 0.0, 9.0, 100.0]),
        ("background", 6, [150.0, 150.0, 20.0, 20.0]),
    ],
)
def test_one_wrong_detection(kind, category, bbox):
    annotations, results = [thing(10, 3, BOX)], [thing(10, category, bbox, score=0.9)]
    mendable = kind in ("localisation", "classification")
    assert counts(annotations, results) == ({kind: 1} if mendable else {kind: 1, "missed": 1})
    # Mended it is the one object, found. Of an object left out nothing is left but a detection of its class.
    lost = {"missed": 1} if category == 6 else {}
    assert gains(annotations, results) == ({kind: 1} if mendable else lost)


def test_a_duplicate_that_ranks_first_costs_half():
    annotations = [thing(10, 3, BOX), thing(20, 3, BOX)]
    results = [thing(10, 3, BOX, score=0.9), thing(10, 3, BOX, score=0.8), thing(20, 3, BOX, score=0.7)]
    assert counts(annotations, results) == {"duplicate": 1}
    # Recall 0.5 at precision 1 (51 of 101 places), then 2 of 3.
    before = (51 + 50 * 2 / 3) / 101
    assert gains(annotations, results) == {"duplicate": 1 - before}
    analysis = analyse(match(truth(annotations), results))
    assert analysis.precision == pytest.approx(before)
    assert (analysis.false_positives.count, analysis.false_positives.gain) == (1, pytest.approx(1 - before))
    assert (analysis.false_negatives.count, analysis.false_negatives.gain) == (0, 0)


def test_a_missed_object_is_left_out():
    annotations = [thing(10, 3, BOX), thing(20, 3, BOX)]
    results = [thing(10, 3, BOX, score=0.9)]
    assert counts(annotations, results) == {"missed": 1}
    assert gains(annotations, results) == {"missed": 50 / 101}


def test_of_two_near_an_object_the_better_is_mended_and_the_other_dropped():
    annotations = [thing(10, 3, BOX)]
    near = [thing(10, 3, [0.0, 0.0, 40.0, 100.0], score=0.9), thing(10, 3, [0.0, 0.0, 45.0, 100.0], score=0.8)]
    assert counts(annotations, near) == {"localisation": 2}
    assert gains(annotations, near) == {"localisation": 1}


def test_a_crowd_region_excuses_its_class():
    annotations = [thing(10, 3, BOX), thing(10, 3, [100.0, 0.0, 100.0, 100.0], iscrowd=1)]
    inside = [thing(10, 3, [120.0 + 10 * n, 0.0, 30.0, 30.0], score=0.9) for n in range(3)]
    results = [*inside, thing(10, 3, BOX, score=0.5)]
    matches = match(truth(annotations), results)
    assert matches.excused.tolist() == [True, True, True, False]
    assert analyse(matches).precision == pytest.approx(1)
    other = [{**entry, "category_id": 6} for entry in inside]
    assert not match(truth(annotations), other).excused.any()


def test_nothing_found_nothing_there_and_neither():
    annotations, results = [thing(10, 3, BOX)], [thing(10, 3, BOX, score=0.5)]
    lost = analyse(match(truth(annotations), []))
    assert (lost.precision, {one.name: one.gain for one in lost.kinds if one.gain}) == (0, {"missed": 1})
    strange = analyse(match(truth([]), results))
    assert (strange.precision, strange.kinds[KINDS.index("background")].count) == (None, 1)
    assert all(one.gain == 0 for one in strange.kinds)
    assert np.isnan(analyse(match(truth([]), [])).class_precision).all()


def test_a_box_without_area_overlaps_nothing():
    annotations = [thing(10, 3, [5.0, 5.0, 0.0, 0.0])]
    assert counts(annotations, [thing(10, 3, [5.0, 5.0, 0.0, 0.0], score=1.0)]) == {"background": 1, "missed": 1}


def test_precision_is_pycocotools_at_iou_50():
    for seed in range(20):
        ground_truth = chance(seed)
        results = perturbed(ground_truth, seed, ties=False)
        expected = evaluate_results(ground_truth, results, "pycocotools").map_50
        assert analyse(match(ground_truth, results)).precision == (
            None if expected is None else pytest.approx(expected, abs=0.01)
        )


def test_quality_of_images_at_a_score():
    annotations = [thing(10, 3, BOX), thing(20, 3, BOX), thing(30, 3, BOX)]
    results = [
        thing(10, 3, BOX, score=0.9),
        thing(10, 3, BOX, score=0.6),
        thing(20, 3, BOX, score=0.4),
        thing(40, 3, BOX, score=0.4),
    ]
    matches = match(truth(annotations, images=5), results)
    assert (matches.kind == RIGHT).tolist() == [True, False, True, False]
    images = [10, 20, 30, 40, 50]
    assert matches.image_quality(images, 0.5) == {10: pytest.approx(2 / 3), 20: 0, 30: 0}
    assert matches.image_quality(images, 0.1) == {10: pytest.approx(2 / 3), 20: 1, 30: 0, 40: 0}
