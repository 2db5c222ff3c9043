"""Accuracy against torchmetrics and against counts by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torchmetrics.functional.classification import (
    multiclass_accuracy,
    multiclass_calibration_error,
    multiclass_confusion_matrix,
)

from tasks.metrics.accuracy import Accuracy


def random_batch(images: int, classes: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (images,), generator=rng)
    logits = torch.randn(images, classes, generator=rng)
    logits[torch.arange(images), labels] += 1.0
    return logits.softmax(dim=1), labels


@pytest.mark.parametrize("classes", [5, 7, 1000])
def test_equals_torchmetrics(classes: int) -> None:
    scores, labels = random_batch(500, classes)
    measure = Accuracy(classes)
    measure.update(scores, labels)
    figures = measure.metrics()
    for name, k in (("top1", 1), ("top5", 5)):
        wanted = multiclass_accuracy(scores, labels, classes, average="micro", top_k=k).item()
        assert figures[name] == pytest.approx(wanted, abs=1e-7)
    wanted = multiclass_calibration_error(scores, labels, classes, n_bins=15, norm="l1").item()
    assert figures["calibration_error"] == pytest.approx(wanted, abs=1e-6)
    assert torch.equal(measure.confusion, multiclass_confusion_matrix(scores, labels, classes))
    per_class = multiclass_accuracy(scores, labels, classes, average="none")
    names = [str(number) for number in range(classes)]
    for number, value in enumerate(measure.per_class(names).values()):
        if value is not None:
            assert value == pytest.approx(per_class[number].item(), abs=1e-6)


def test_parts_add_up() -> None:
    scores, labels = random_batch(97, 6)
    whole, first, second = Accuracy(6), Accuracy(6), Accuracy(6)
    whole.update(scores, labels)
    first.update(scores[:31], labels[:31])
    second.update(scores[31:40], labels[31:40])
    second.update(scores[40:], labels[40:])
    first += second
    assert first.metrics() == pytest.approx(whole.metrics())
    assert torch.equal(first.confusion, whole.confusion)


def test_ties_go_to_the_smaller_index() -> None:
    measure = Accuracy(6)
    measure.update(torch.full((6, 6), 1 / 6), torch.arange(6))
    assert measure.metrics()["top1"] == pytest.approx(1 / 6)
    assert measure.metrics()["top5"] == pytest.approx(5 / 6)
    assert measure.confusion[:, 0].tolist() == [1] * 6


def test_scores_that_are_no_numbers_are_wrong() -> None:
    scores, labels = torch.eye(5), torch.arange(5)
    scores[2, 4] = math.nan
    measure = Accuracy(5)
    measure.update(scores, labels)
    assert measure.unanswered == 1
    assert measure.metrics() == {"top1": 4 / 5, "top5": 4 / 5, "calibration_error": 0.0}
    assert measure.per_class("abcde")["c"] == 0.0


def test_fewer_than_five_classes_and_none_of_one() -> None:
    measure = Accuracy(3)
    assert measure.metrics() == {"top1": None, "top5": None, "calibration_error": None}
    measure.update(torch.tensor([[0.5, 0.25, 0.25]]), torch.tensor([0]))
    assert measure.metrics() == {"top1": 1.0, "top5": None, "calibration_error": 0.5}
    assert measure.per_class("abc") == {"a": 1.0, "b": None, "c": None}
