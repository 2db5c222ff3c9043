"""The error analysis against TIDE's own implementation, where it is installed."""

from __future__ import annotations

import sys
import types
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tasks.data.formats.coco.results import load_annotations, load_results
from tasks.metrics.error_analysis import KINDS, analyse, match
from tests.metrics.scenes import chance, perturbed, real_data

if find_spec("tidecv") is None:
    pytest.skip("tidecv is not installed", allow_module_level=True)


@pytest.fixture(scope="module")
def tide() -> Any:
    """The package without what it imports for its plots and downloads only."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("seaborn", "pandas", "appdirs"):
            if find_spec(name) is None:
                stand_in = types.ModuleType(name)
                stand_in.user_data_dir = None  # type: ignore[attr-defined]
                patch.setitem(sys.modules, name, stand_in)
        import tidecv

        yield tidecv


def unique_scores(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """With equal scores the reference's figures depend on the order in which it mends."""
    return [{**entry, "score": entry["score"] + 1e-7 * number} for number, entry in enumerate(results)]


def reference(tide: Any, truth: dict[str, Any], results: list[dict[str, Any]]) -> Any:
    objects, found = tide.Data("truth"), tide.Data("results")
    for category in truth["categories"]:
        objects.add_class(category["id"], category["name"])
    for image in truth["images"]:
        objects.add_image(image["id"], str(image["id"]))
    for entry in truth["annotations"]:
        add = objects.add_ignore_region if entry.get("iscrowd") else objects.add_ground_truth
        add(entry["image_id"], entry["category_id"], box=entry["bbox"])
    for entry in results:
        found.add_detection(entry["image_id"], entry["category_id"], entry["score"], box=entry["bbox"])
    return tide.TIDE().evaluate(objects, found, mode=tide.TIDE.BOX)


def class_precision(data: Any, truth: dict[str, Any]) -> list[float]:
    ids = sorted(category["id"] for category in truth["categories"])
    return [np.nan if i not in data.objs or data.objs[i].is_empty() else data.objs[i].get_ap() / 100 for i in ids]


def assert_equal(tide: Any, truth: dict[str, Any], results: list[dict[str, Any]]) -> None:
    theirs, ours = reference(tide, truth, results), analyse(match(truth, results))
    assert [mistakes.name for mistakes in ours.kinds] == list(KINDS)
    assert [mistakes.count for mistakes in ours.kinds] == list(theirs.count_errors().values())
    np.testing.assert_allclose(ours.class_precision, class_precision(theirs.ap_data, truth), atol=1e-12)
    for mistakes, error in zip(ours.kinds, tide.TIDE._error_types, strict=True):
        mended = theirs.fix_errors(lambda one, error=error: isinstance(one, error))
        np.testing.assert_allclose(mistakes.class_precision, class_precision(mended, truth), atol=1e-12)
    ranked = theirs.fix_errors(transform=tide.FalsePositiveError.fix)
    np.testing.assert_allclose(ours.false_positives.class_precision, class_precision(ranked, truth), atol=1e-12)
    lost = theirs.fix_errors(false_neg_dict=theirs.false_negatives)
    np.testing.assert_allclose(ours.false_negatives.class_precision, class_precision(lost, truth), atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 100_000))
def test_every_class_and_kind_is_the_reference_s(tide, seed):
    truth = chance(seed)
    assume(any(not entry.get("iscrowd") for entry in truth["annotations"]))  # else the reference divides by zero
    assert_equal(tide, truth, unique_scores(perturbed(truth, seed, ties=False)))


def test_of_an_image_the_hundred_best_count(tide):
    truth = chance(3)
    results = perturbed(truth, 3, ties=False, strangers=400)
    assert max(sum(r["image_id"] == i["id"] for r in results) for i in truth["images"]) > 100
    assert_equal(tide, truth, unique_scores(results))


@pytest.mark.real_data
def test_the_official_fixture(tide):
    folder = real_data() / "coco_eval"
    truth = load_annotations(folder / "instances_val2014_100.json")
    results = unique_scores(load_results(folder / "instances_val2014_fakebbox100_results.json", truth))
    assert_equal(tide, truth, results)


@pytest.mark.real_data
def test_real_annotations_and_the_gains_too(tide):
    truth = load_annotations(real_data() / "coco" / "annotations" / "instances_val2017.json")
    there = {entry["category_id"] for entry in truth["annotations"] if not entry["iscrowd"]}
    results = unique_scores(perturbed(truth, 0, ties=False))
    results = [entry for entry in results if entry["category_id"] in there]
    assert_equal(tide, truth, results)
    theirs, ours = reference(tide, truth, results), analyse(match(truth, results))
    assert ours.precision == pytest.approx(theirs.ap / 100)
    # Where mending empties no class and every class has objects, the means are over the same classes.
    assert [100 * mistakes.gain for mistakes in ours.kinds] == pytest.approx(list(theirs.fix_main_errors().values()))
    special = [100 * mistakes.gain for mistakes in (ours.false_positives, ours.false_negatives)]
    assert special == pytest.approx(list(theirs.fix_special_errors().values()))
