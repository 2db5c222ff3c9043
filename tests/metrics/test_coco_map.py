"""Oracles: COCO's published figures, pycocotools' own way through `loadRes` and `summarize`, and hand arithmetic."""

from __future__ import annotations

import copy
import json
import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from backbone.errors import InputError
from heads.structures import Detections
from tasks.data.formats.coco.results import load_annotations, load_results
from tasks.metrics.coco_map import METRICS, CocoMap, evaluate_results
from tests.metrics.scenes import chance, perturbed, real_data, thing, truth
from tests.processes import loaded_by

BACKENDS = ("pycocotools", "faster_coco_eval")
PUBLISHED = (0.505, 0.697, 0.573, 0.586, 0.519, 0.501, 0.387, 0.594, 0.595, 0.640, 0.566, 0.564)


@dataclass
class Names:
    ids: tuple[int, ...] = (3, 6)
    names: tuple[str, ...] = ("c3", "c6")


def found(boxes: list[list[float]], scores: list[float], labels: list[int]) -> Detections:
    return Detections(
        torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        torch.tensor(scores),
        torch.tensor(labels, dtype=torch.int64),
    )


def official(
    ground_truth: dict[str, Any], results: list[dict[str, Any]], image_ids: list[int] | None = None
) -> list[float]:
    """The twelve as pycocotools' users get them."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    coco = COCO()
    coco.dataset = copy.deepcopy(ground_truth)
    for number, annotation in enumerate(coco.dataset["annotations"], start=1):
        annotation |= {"id": number, "iscrowd": annotation.get("iscrowd", 0)}
        annotation.setdefault("area", annotation["bbox"][2] * annotation["bbox"][3])
    coco.createIndex()
    evaluation = COCOeval(coco, coco.loadRes(copy.deepcopy(results)), "bbox")
    if image_ids is not None:
        evaluation.params.imgIds = image_ids
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return [float(value) for value in evaluation.stats]


def assert_equal(figures: dict[str, float | None], expected: list[float]) -> None:
    ours = [-1.0 if figures[name] is None else figures[name] for name in METRICS]
    assert ours == pytest.approx(expected, abs=1e-12)


@pytest.mark.real_data
@pytest.mark.parametrize("backend", BACKENDS)
def test_the_official_fixture_gives_the_published_figures(backend):
    folder = real_data() / "coco_eval"
    ground_truth = load_annotations(folder / "instances_val2014_100.json")
    results = load_results(folder / "instances_val2014_fakebbox100_results.json", ground_truth)
    scores = evaluate_results(ground_truth, results, backend)
    assert tuple(round(value, 3) for value in scores.metrics().values()) == PUBLISHED
    assert (scores.images, scores.detections) == (100, 734)


@pytest.mark.real_data
def test_both_backends_give_the_official_figures_on_real_annotations():
    ground_truth = load_annotations(real_data() / "coco" / "annotations" / "instances_val2017.json")
    results = perturbed(ground_truth, 0, ties=True)
    expected = official(ground_truth, results)
    for backend in BACKENDS:
        assert_equal(evaluate_results(ground_truth, results, backend).metrics(), expected)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), ties=st.booleans())
def test_both_backends_give_the_official_figures(seed, ties):
    ground_truth = chance(seed)
    results = perturbed(ground_truth, seed, ties=ties) or [thing(10, 3, [0, 0, 5, 5], score=0.5)]
    expected = official(ground_truth, results)
    slow, fast = (evaluate_results(ground_truth, results, backend) for backend in BACKENDS)
    assert_equal(slow.metrics(), expected)
    assert_equal(fast.metrics(), expected)
    assert fast.classes == tuple(
        type(c)(c.category_id, c.name, c.objects, pytest.approx(c.map), pytest.approx(c.map_50)) for c in slow.classes
    )
    np.testing.assert_allclose(fast.precision, slow.precision, atol=1e-12)


def test_both_backends_agree_beyond_a_hundred_detections_of_a_class():
    ground_truth = truth([thing(10, 3, [float(8 * i), 0.0, 40.0, 40.0]) for i in range(12)])
    rng = np.random.default_rng(0)
    results = [
        thing(
            10, 3, [round(float(v), 3) for v in (rng.uniform(0, 100), 0, 40, 40)], score=round(float(rng.random()), 2)
        )
        for _ in range(300)
    ]
    expected = official(ground_truth, results)
    for backend in BACKENDS:
        assert_equal(evaluate_results(ground_truth, results, backend).metrics(), expected)


@pytest.mark.parametrize("backend", BACKENDS)
def test_hand_arithmetic(backend):
    # c3: two objects, the better detection is wrong and the other right: precision is 0 at rank 1 and 1/2 at rank 2,
    # recall 1/2. So 51 of the 101 recall steps (0 .. .50) have 1/2. c6: one object, found exactly.
    ground_truth = truth([thing(10, 3, [0, 0, 20, 20]), thing(20, 3, [0, 0, 20, 20]), thing(20, 6, [50, 50, 100, 100])])
    results = [
        thing(10, 3, [100, 100, 20, 20], score=0.9),
        thing(10, 3, [0, 0, 20, 20], score=0.8),
        thing(20, 6, [50, 50, 100, 100], score=0.1),
    ]
    scores = evaluate_results(ground_truth, results, backend)
    half = 51 / 101 / 2
    assert scores.per_class() == pytest.approx({"c3": half, "c6": 1.0})
    assert [c.map_50 for c in scores.classes] == pytest.approx([half, 1.0])
    assert [(c.category_id, c.objects) for c in scores.classes] == [(3, 2), (6, 1)]
    assert scores.map == pytest.approx((half + 1) / 2)
    assert (scores.map_small, scores.map_medium, scores.map_large) == (pytest.approx(half), None, pytest.approx(1.0))
    assert (scores.mar_1, scores.mar_100) == (pytest.approx(0.5), pytest.approx(0.75))
    assert (scores.images, scores.objects, scores.detections) == (2, 3, 3)
    assert json.loads(json.dumps(scores.metrics(), allow_nan=False)) == scores.metrics()


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_detection_on_a_crowd_region_is_neither_right_nor_wrong(backend):
    ground_truth = truth([thing(10, 3, [0, 0, 20, 20]), thing(10, 3, [50, 50, 100, 100], iscrowd=1)])
    results = [thing(10, 3, [60, 60, 30, 30], score=0.9), thing(10, 3, [0, 0, 20, 20], score=0.5)]
    scores = evaluate_results(ground_truth, results, backend)
    assert scores.map == pytest.approx(1.0)
    assert scores.objects == 1


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_object_with_id_zero_can_be_found(backend):
    ground_truth = truth([thing(10, 3, [0, 0, 20, 20])])
    assert ground_truth["annotations"][0]["id"] == 0
    assert evaluate_results(ground_truth, [thing(10, 3, [0, 0, 20, 20], score=0.5)], backend).map == pytest.approx(1.0)


@pytest.mark.parametrize("backend", BACKENDS)
def test_nothing_detected_is_zeros_and_a_warning(backend, caplog):
    scores = evaluate_results(truth([thing(10, 3, [0, 0, 20, 20])]), [], backend)
    assert scores.map == scores.map_small == scores.mar_100 == 0.0
    assert scores.map_large is None
    assert scores.per_class() == {"c3": 0.0, "c6": None}
    assert "nothing was detected in 2 images: every figure is zero" in caplog.text


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_objects_at_all_is_no_value_and_a_warning(backend, caplog):
    scores = evaluate_results(truth([]), [thing(10, 3, [0, 0, 20, 20], score=0.5)], backend)
    assert set(scores.metrics().values()) == {None}
    assert "the 2 images hold no objects: no figure has a value" in caplog.text


@pytest.mark.parametrize("backend", BACKENDS)
def test_nothing_is_printed_and_nothing_is_changed(backend, capfd):
    ground_truth = truth([thing(10, 3, [0, 0, 20, 20])])
    results = [thing(10, 3, [0, 0, 20, 20], score=0.5)]
    before = copy.deepcopy((ground_truth, results))
    evaluate_results(ground_truth, results, backend)
    assert (ground_truth, results) == before
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_subset_of_the_images(backend, caplog):
    ground_truth = chance(5)
    results = perturbed(ground_truth, 5, ties=False)
    chosen = [image["id"] for image in ground_truth["images"]][::2]
    scores = evaluate_results(ground_truth, results, backend, image_ids=chosen)
    assert_equal(scores.metrics(), official(ground_truth, results, chosen))
    assert scores.images == len(chosen)
    others = sum(entry["image_id"] not in chosen for entry in results)
    assert f"{others} of {len(results)} results are for images that do not count here" in caplog.text


def test_errors_of_evaluate_results():
    ground_truth = truth([])
    with pytest.raises(InputError, match="backend 'x': must be one of faster_coco_eval, pycocotools"):
        evaluate_results(ground_truth, [], "x")
    with pytest.raises(InputError, match=r"result 1: image_id 7 is not in the annotations; they have 10, 20"):
        evaluate_results(ground_truth, [thing(i, 3, [0, 0, 1, 1], score=1.0) for i in (10, 7)], "pycocotools")
    with pytest.raises(InputError, match=r"result 0: category_id 0 is not in the annotations; they have 3, 6"):
        evaluate_results(ground_truth, [thing(10, 0, [0, 0, 1, 1], score=1.0)], "pycocotools")
    with pytest.raises(InputError, match=r"image ids 7, 8: are not among the 2 images of the annotations"):
        evaluate_results(ground_truth, [], "pycocotools", image_ids=[8, 10, 7])
    with pytest.raises(InputError, match="there are no images to evaluate"):
        evaluate_results(ground_truth, [], "pycocotools", image_ids=[])


def test_the_map_collects_and_its_file_gives_equal_figures():
    ground_truth = truth([thing(10, 3, [0.1, 0.2, 20.3, 20.4]), thing(20, 6, [50, 50, 100, 100])])
    metric = CocoMap(ground_truth, "pycocotools", Names())
    metric.update([20], [found([[50.00012, 50, 150, 150], [0, 0, 9, 9]], [0.7, 0.1], [1, 0])])
    metric.update([10], [found([[0.1, 0.2, 20.4, 20.6]], [1 / 3], [0])])
    results = metric.results()
    assert results[0] == {"image_id": 10, "category_id": 3, "bbox": [0.1, 0.2, 20.3, 20.4], "score": 0.33333334}
    assert results[1] == {"image_id": 20, "category_id": 6, "bbox": [50.0, 50.0, 100.0, 100.0], "score": 0.7}
    scores = metric.compute()
    assert scores.map == pytest.approx(1.0)
    assert evaluate_results(ground_truth, json.loads(json.dumps(results)), "pycocotools") == scores


def test_scores_in_the_file_are_the_same_float32():
    scores = torch.rand(1000, generator=torch.Generator().manual_seed(0)) ** 8
    metric = CocoMap(truth([]), "pycocotools", Names())
    metric.update([10], [Detections(torch.zeros(1000, 4), scores, torch.zeros(1000, dtype=torch.int64))])
    kept = [entry["score"] for entry in json.loads(json.dumps(metric.results()))]
    assert np.array_equal(np.array(kept, np.float32), scores.numpy())


def test_an_image_that_was_not_evaluated_counts_and_is_reported(caplog):
    ground_truth = truth([thing(10, 3, [0, 0, 20, 20]), thing(20, 3, [0, 0, 20, 20])])
    exact = found([[0, 0, 20, 20]], [0.9], [0])
    whole = CocoMap(ground_truth, "faster_coco_eval", Names())
    whole.update([10], [exact])
    assert whole.compute().mar_100 == pytest.approx(0.5)
    assert "1 of 2 images were not evaluated; they count as images in which nothing was found" in caplog.text
    part = CocoMap(ground_truth, "faster_coco_eval", Names(), image_ids=[10])
    part.update([10], [exact])
    assert part.compute().map == pytest.approx(1.0)


def test_an_image_without_detections_is_ordinary():
    metric = CocoMap(truth([thing(10, 3, [0, 0, 20, 20])]), "faster_coco_eval", Names())
    metric.update([10, 20], [found([], [], []), found([], [], [])])
    assert metric.results() == []
    assert metric.compute().map == 0.0


def test_errors_of_update():
    metric = CocoMap(truth([]), "pycocotools", Names(), image_ids=[10])
    one = found([[0, 0, 1, 1]], [0.5], [0])
    with pytest.raises(InputError, match="image id 20: is not among the 1 images that count"):
        metric.update([20], [one])
    with pytest.raises(InputError, match=r"image id 10: a detection has label 2; must be 0 \.\. 1"):
        metric.update([10], [found([[0, 0, 1, 1]], [0.5], [2])])
    for bad in (found([[0, 0, float("nan"), 1]], [0.5], [0]), found([[0, 0, 1, 1]], [float("inf")], [0])):
        with pytest.raises(InputError, match="image id 10: a detection has a box or score that is not finite"):
            metric.update([10], [bad])
    metric.update([10], [one])
    with pytest.raises(InputError, match="image id 10: was evaluated before, and every image counts once"):
        metric.update([10], [one])
    with pytest.raises(ValueError, match="shorter"):
        CocoMap(truth([]), "pycocotools", Names()).update([10, 20], [one])


def test_labels_that_do_not_fit_the_annotations(caplog):
    with pytest.raises(
        InputError, match=r"class 1 \('dog'\) has category id 9, which the annotations do not have; .* 3, 6"
    ):
        CocoMap(truth([]), "pycocotools", Names((3, 9), ("c3", "dog")))
    with pytest.raises(InputError, match="must be one of faster_coco_eval"):
        CocoMap(truth([]), "slow", Names())
    with caplog.at_level(logging.WARNING):
        CocoMap(truth([]), "pycocotools", Names((3,), ("c3",)))
    assert "1 of 2 categories are not among the model's classes; their objects count as not found: c6" in caplog.text


def test_importing_the_module_imports_neither_library():
    there = loaded_by("import tasks.metrics.coco_map, tasks.data.formats.coco.results, tasks.evaluators.table")
    assert not {"pycocotools", "faster_coco_eval", "torch", "cv2"} & there
