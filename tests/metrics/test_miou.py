"""The confusion matrix against one that numpy counts pixel by pixel."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from backbone.errors import InputError
from tasks.metrics import miou as module
from tasks.metrics.miou import MeanIoU

NAMES = ("sky", "road", "car")


def counted(truth: np.ndarray, prediction: np.ndarray, classes: int) -> np.ndarray:
    table = np.zeros((classes, classes), np.int64)
    np.add.at(table, (truth[truth != 255], prediction[truth != 255]), 1)
    return table


def figures(table: np.ndarray) -> tuple[float, float, float]:
    """mIoU over classes that occur, pixel accuracy, frequency-weighted IoU."""
    with np.errstate(invalid="ignore"):
        iou = table.diagonal() / (table.sum(0) + table.sum(1) - table.diagonal())
        share = table.sum(1) / table.sum()
        return np.nanmean(iou), table.diagonal().sum() / table.sum(), np.nansum(share * iou)


def masks(rows: list[list[int]]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.uint8)


def measured(truth: list[list[int]], prediction: list[list[int]]) -> MeanIoU:
    measure = MeanIoU(NAMES)
    measure.update(masks(truth), masks(prediction))
    return measure


def test_by_hand(caplog: pytest.LogCaptureFixture) -> None:
    scores = measured([[0, 0, 0, 1], [1, 1, 255, 255]], [[0, 0, 1, 1], [1, 0, 2, 0]]).compute()
    assert scores.per_class() == {"sky": 2 / 4, "road": 2 / 4, "car": None}
    assert scores.metrics() == {"miou": 0.5, "pixel_accuracy": 4 / 6, "fw_iou": 0.5}
    assert scores.absent == ("car",)
    assert caplog.messages == [
        "1 of 3 classes occur neither in truth nor in prediction and are left out of the mean: car"
    ]


def test_a_class_that_is_only_predicted_counts_as_wrong() -> None:
    scores = measured([[0, 0, 1, 1]], [[0, 2, 1, 1]]).compute()
    assert scores.per_class() == {"sky": 0.5, "road": 1.0, "car": 0.0}
    assert scores.miou == 0.5
    assert scores.in_truth == ("sky", "road")
    assert scores.mean_over(scores.in_truth) == 0.75
    assert scores.mean_over(["car"]) == 0
    assert scores.mean_over([]) is None
    message = "class 'bus': is not among those that were scored, sky, road, car"
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        scores.mean_over(["sky", "bus"])


def test_all_void(caplog: pytest.LogCaptureFixture) -> None:
    scores = measured([[255, 255]], [[0, 2]]).compute()
    assert set(scores.metrics().values()) == {None}
    assert scores.absent == NAMES
    assert scores.mean_over(NAMES) is None
    assert caplog.messages == ["every pixel is void: no figure has a value"]


def test_one_pixel() -> None:
    assert measured([[1]], [[1]]).compute().metrics() == {"miou": 1.0, "pixel_accuracy": 1.0, "fw_iou": 1.0}
    assert measured([[1]], [[2]]).compute().metrics() == {"miou": 0.0, "pixel_accuracy": 0.0, "fw_iou": 0.0}
    MeanIoU(NAMES).update(masks([[]]), masks([[]]))


@st.composite
def pairs_of_masks(draw: st.DrawFn) -> tuple[int, np.ndarray, np.ndarray]:
    classes = draw(st.sampled_from([1, 2, 21, 255]))
    shape = draw(st.tuples(st.integers(1, 4), st.integers(1, 9), st.integers(1, 9)))
    truth = draw(arrays(np.uint8, shape, elements=st.integers(0, classes - 1) | st.just(255)))
    prediction = draw(arrays(np.uint8, shape, elements=st.integers(0, classes - 1)))
    return classes, truth, prediction


@settings(deadline=None, max_examples=60)
@given(pairs_of_masks(), st.integers(1, 7))
def test_equals_numpy_in_one_update_and_in_many(pairs: tuple[int, np.ndarray, np.ndarray], parts: int) -> None:
    classes, truth, prediction = pairs
    names = [str(n) for n in range(classes)]
    whole, merged = MeanIoU(names), MeanIoU(names)
    whole.update(torch.from_numpy(truth), torch.from_numpy(prediction))
    assert np.array_equal(whole.counts.numpy(), counted(truth, prediction, classes))
    for true, predicted in zip(
        np.array_split(truth.ravel(), parts), np.array_split(prediction.ravel(), parts), strict=True
    ):
        other = MeanIoU(names)
        other.update(torch.from_numpy(true), torch.from_numpy(predicted))
        merged += other
    assert merged.compute() == whole.compute()
    found = whole.compute().metrics()
    if (truth == 255).all():
        assert set(found.values()) == {None}
    else:
        assert list(found.values()) == pytest.approx(figures(whole.counts.numpy()))


def test_large_masks_are_counted_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PIXELS_AT_ONCE", 1000)
    rng = np.random.default_rng(0)
    truth, prediction = rng.choice(np.array([0, 1, 2, 255], np.uint8), (77, 91)), rng.integers(0, 3, (77, 91), np.uint8)
    measure = MeanIoU(NAMES)
    measure.update(torch.from_numpy(truth), torch.from_numpy(prediction).t().contiguous().t())
    assert np.array_equal(measure.counts.numpy(), counted(truth, prediction, 3))


@pytest.mark.parametrize(
    ("truth", "prediction", "message"),
    [
        ([[0, 3, 3]], [[0, 0, 0]], "evaluation: the truth has 2 pixels of value 3; must be 0 .. 2 or 255"),
        ([[0, 1, 254]], [[0, 0, 9]], "evaluation: the truth has 1 pixels of value 254; must be 0 .. 2 or 255"),
        ([[0, 1, 1]], [[0, 255, 9]], "evaluation: the prediction has 1 pixels of value 9; must be 0 .. 2"),
        (
            [[0, 1]],
            [[0]],
            "evaluation: a mask of (1, 2) was answered with (1, 1); predict at the size of the original",
        ),
    ],
)
def test_what_does_not_fit(truth: list[list[int]], prediction: list[list[int]], message: str) -> None:
    measure = MeanIoU(NAMES)
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        measure.update(masks(truth), masks(prediction))
    assert measure.counts.sum() == 0


def test_other_types_and_other_classes() -> None:
    measure = MeanIoU(NAMES)
    with pytest.raises(InputError, match=r"^evaluation: the prediction is torch\.int64; must be torch\.uint8$"):
        measure.update(masks([[0]]), masks([[0]]).long())
    message = (
        "evaluation: counts of 2 classes (a, b ..) do not add to those of 3 (sky, road, car ..); "
        "evaluate both with one label map"
    )
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        measure += MeanIoU(("a", "b"))
    for names in ((), [str(n) for n in range(256)]):
        with pytest.raises(InputError, match=rf"^evaluation of {len(names)} classes: must be 1 \.\. 255$"):
            MeanIoU(names)
