"""Post-processing against a greedy loop over all candidates of every class, and against torchvision's SSD."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor
from torchvision.models.detection._utils import BoxCoder
from torchvision.models.detection.ssd import SSD

from backbone.features import FeatureSpec
from heads.ssdlite.box_coder import to_xyxy
from heads.ssdlite.config import ClassScore, SSDLiteConfig
from heads.ssdlite.head import SSDLite, SSDLiteOutputs
from heads.ssdlite.postprocess import detect

if TYPE_CHECKING:
    from heads.structures import Detections

Found = list[tuple[float, int, list[float]]]
"""Score, label and box, best first."""


def iou(a: list[float], b: list[float]) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = width * height if width > 0 and height > 0 else 0.0
    total = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
    return shared / total if total > 0 else 0.0


def naive_detect(
    scores: Tensor, boxes: Tensor, *, score_threshold: float, nms_iou: float, max_detections: int
) -> list[Found]:
    """One image after the other, one class after the other, every candidate against every one that was kept."""
    answers = []
    for image_scores, image_boxes in zip(scores.tolist(), boxes.tolist(), strict=True):
        found: Found = []
        for label in range(scores.shape[2]):
            kept: Found = []
            candidates = sorted(((row[label], a) for a, row in enumerate(image_scores)), key=lambda x: -x[0])
            for score, a in candidates:
                if score > score_threshold and all(iou(image_boxes[a], k[2]) <= nms_iou for k in kept):
                    kept.append((score, label, image_boxes[a]))
            found += kept
        answers.append(sorted(found, key=lambda x: -x[0])[:max_detections])
    return answers


def as_lists(found: list[Detections]) -> list[Found]:
    return [list(zip(d.scores.tolist(), d.labels.tolist(), d.boxes_xyxy_px.tolist(), strict=True)) for d in found]


def ones(images: int) -> Tensor:
    """Sizes of images of one pixel, in which pixels are fractions."""
    return torch.ones(images, 2, dtype=torch.int64)


def random_boxes(images: int, count: int, spread: float = 0.5) -> Tensor:
    side = 0.2 + 0.3 * torch.rand(images, count, 2)
    low = torch.rand(images, count, 2) * spread
    return torch.cat([low, low + side], dim=-1)


@pytest.mark.parametrize("detections", [1, 7, 40, 1000])
@pytest.mark.parametrize("score_threshold", [0.0, 0.5, 0.97])
@pytest.mark.parametrize("classes", [1, 4])
def test_equals_a_greedy_loop(detections: int, score_threshold: float, classes: int) -> None:
    torch.manual_seed(detections)
    scores, boxes = torch.rand(3, 60, classes), random_boxes(3, 60)
    settings: dict[str, Any] = {"score_threshold": score_threshold, "nms_iou": 0.3, "max_detections": detections}
    assert as_lists(detect(scores, boxes, ones(len(scores)), **settings)) == naive_detect(scores, boxes, **settings)


@pytest.mark.parametrize("candidates", [1, 5, 200])
@pytest.mark.parametrize("detections", [7, 1000])
def test_few_candidates_of_a_class_are_a_loop_over_its_best_scores(candidates: int, detections: int) -> None:
    torch.manual_seed(candidates)
    scores, boxes = torch.rand(3, 60, 4), random_boxes(3, 60)
    settings: dict[str, Any] = {"score_threshold": 0.2, "nms_iou": 0.3, "max_detections": detections}
    best = scores.topk(min(candidates, 60), dim=1).values[:, -1:]
    wanted = naive_detect(torch.where(scores >= best, scores, 0), boxes, **settings)
    assert as_lists(detect(scores, boxes, ones(3), candidates=candidates, **settings)) == wanted


@pytest.mark.parametrize("classes", [1, 3])
def test_all_boxes_identical(classes: int) -> None:
    """Only the best of each class survives, and the last class comes behind all boxes of the others."""
    torch.manual_seed(0)
    scores = torch.rand(2, 500, classes)
    scores[1, :, -1] *= 1e-3
    boxes = torch.tensor([0.1, 0.2, 0.6, 0.7]).expand(2, 500, 4)
    settings: dict[str, Any] = {"score_threshold": 0.0, "nms_iou": 0.6, "max_detections": classes}
    found = detect(scores, boxes, ones(len(scores)), **settings)
    assert as_lists(found) == naive_detect(scores, boxes, **settings)
    assert [sorted(d.labels.tolist()) for d in found] == [list(range(classes))] * 2
    more = detect(scores, boxes, ones(len(scores)), score_threshold=0.0, nms_iou=0.6, max_detections=classes + 5)
    assert as_lists(more) == as_lists(found)


def test_images_that_need_more_rounds_do_not_disturb_the_others() -> None:
    torch.manual_seed(0)
    scores, boxes = torch.rand(4, 300, 2), random_boxes(4, 300)
    boxes[[0, 2]] = boxes[0, 0].clone()
    scores[3] = 0
    settings: dict[str, Any] = {"score_threshold": 0.1, "nms_iou": 0.5, "max_detections": 3}
    together = as_lists(detect(scores, boxes, ones(len(scores)), **settings))
    assert together == naive_detect(scores, boxes, **settings)
    assert together == [as_lists(detect(scores[n : n + 1], boxes[n : n + 1], ones(1), **settings))[0] for n in range(4)]
    assert [len(found) for found in together] == [2, 3, 2, 0]


def test_nothing_above_the_threshold() -> None:
    found = detect(
        torch.full((2, 9, 3), 0.5), random_boxes(2, 9), ones(2), score_threshold=0.5, nms_iou=0.6, max_detections=4
    )
    for d in found:
        assert (d.boxes_xyxy_px.shape, d.scores.shape, d.labels.shape) == ((0, 4), (0,), (0,))
        assert (d.boxes_xyxy_px.dtype, d.scores.dtype, d.labels.dtype) == (torch.float32, torch.float32, torch.int64)


def test_no_images() -> None:
    assert (
        detect(torch.zeros(0, 9, 3), torch.zeros(0, 9, 4), ones(0), score_threshold=0.5, nms_iou=0.6, max_detections=4)
        == []
    )


def test_boxes_of_different_classes_never_suppress_each_other() -> None:
    scores = torch.eye(200)[None] * torch.linspace(0.9, 0.5, 200)[:, None]
    boxes = torch.tensor([0.0, 0.0, 1.0, 1.0]).expand(1, 200, 4)
    [found] = detect(scores, boxes, ones(len(scores)), score_threshold=0.1, nms_iou=0.01, max_detections=300)
    assert found.labels.tolist() == list(range(200))


@pytest.mark.parametrize("closer", [-1e-3, 1e-3])
def test_overlaps_near_the_limit_are_judged_alike_in_every_class(closer: float) -> None:
    """Two small boxes that share a little less or more than half of their union, in the last of 400 classes.

    To be kept apart, classes are moved apart; the last may not lose the digits that decide.
    """
    side = 0.03
    shift = torch.tensor([side * (1 / 3 - closer), 0.0] * 2)
    low = torch.rand(50, 2, generator=torch.Generator().manual_seed(0)) * 0.9
    first = torch.cat([low, low + side], dim=1)
    scores = torch.zeros(50, 2, 400)
    scores[:, :, -1] = torch.tensor([0.9, 0.8])
    boxes = torch.stack([first, first + shift], dim=1)
    found = detect(scores, boxes, ones(len(scores)), score_threshold=0.1, nms_iou=0.5, max_detections=10)
    assert {len(d.scores) for d in found} == {1 if closer > 0 else 2}


def test_ties_are_broken_in_some_order_and_the_answer_is_still_greedy() -> None:
    torch.manual_seed(0)
    scores, boxes = (torch.rand(1, 80, 3) * 4).round() / 4, random_boxes(1, 80)
    for detections in (5, 30, 1000):
        [found] = as_lists(
            detect(scores, boxes, ones(len(scores)), score_threshold=0.1, nms_iou=0.3, max_detections=detections)
        )
        assert [f[0] for f in found] == sorted((f[0] for f in found), reverse=True)
        assert all(iou(a[2], b[2]) <= 0.3 for a in found for b in found if a is not b and a[1] == b[1])
        last = found[-1][0] if len(found) == detections else 0.1
        for a, row in enumerate(scores[0].tolist()):
            for label, score in enumerate(row):
                box = boxes[0, a].tolist()
                if score > last and (score, label, box) not in found:
                    assert any(f[0] >= score and f[1] == label and iou(f[2], box) > 0.3 for f in found)


@pytest.mark.parametrize("detections", [5, 1000])
def test_not_a_number_is_no_detection(detections: int) -> None:
    torch.manual_seed(0)
    scores, boxes = torch.rand(3, 50, 4), random_boxes(3, 50)
    scores[1, ::7] = torch.nan
    scores[2] = torch.nan
    settings: dict[str, Any] = {"score_threshold": 0.1, "nms_iou": 0.4, "max_detections": detections}
    found = as_lists(detect(scores, boxes, ones(len(scores)), **settings))
    assert found == naive_detect(scores.nan_to_num(0.0), boxes, **settings)
    assert found[2] == []


CLASSES = 5
SPECS = {"near": FeatureSpec(24, 16), "far": FeatureSpec(32, 32)}


def small_head(score: ClassScore, **settings: Any) -> SSDLite:
    """192 default boxes."""
    config = SSDLiteConfig(taps=["near", "far"], extra_channels=[16, 16], score=score, **settings)
    return SSDLite(config, SPECS, num_classes=CLASSES, image_size=96)


@pytest.mark.parametrize("background", [0.0, 6.0], ids=["random", "sparse"])
@pytest.mark.parametrize("detections", [10, 200])
def test_equals_torchvision(background: float, detections: int) -> None:
    torch.manual_seed(0)
    head = small_head(ClassScore.softmax, score_threshold=0.02, nms_iou=0.45, max_detections=detections)
    anchors = to_xyxy(head.default_boxes_cxcywh) * 96
    logits, deltas = 2 * torch.randn(3, len(anchors), 1 + CLASSES), 2 * torch.randn(3, len(anchors), 4)
    logits[..., 0] += background
    fake = SimpleNamespace(
        box_coder=BoxCoder(weights=(10.0, 10.0, 5.0, 5.0)),
        score_thresh=0.02,
        nms_thresh=0.45,
        detections_per_img=detections,
        topk_candidates=10**6,
    )
    theirs = SSD.postprocess_detections(
        fake, {"cls_logits": logits, "bbox_regression": deltas}, [anchors] * 3, [(96, 96)] * 3
    )
    ours = head.predict(SSDLiteOutputs(logits, deltas), torch.full((3, 2), 96))
    for found, wanted in zip(ours, theirs, strict=True):
        assert len(found.labels) > 5
        assert torch.equal(found.labels + 1, wanted["labels"])
        torch.testing.assert_close(found.scores, wanted["scores"])
        torch.testing.assert_close(found.boxes_xyxy_px, wanted["boxes"], atol=1e-3, rtol=1e-5)


@pytest.mark.parametrize("score", ClassScore)
def test_pixels_are_those_of_the_original_image(score: ClassScore) -> None:
    """A box that covers the right half of the lower half, in an image of 200 x 400 (height, width)."""
    head = small_head(score, max_detections=1)
    logits, deltas = torch.full((2, 192, 1 + CLASSES), -9.0), torch.zeros(2, 192, 4)
    logits[:, 100, 3] = 9.0
    default = head.default_boxes_cxcywh[100]
    deltas[:, 100, :2] = (torch.tensor([0.75, 0.75]) - default[:2]) / default[2:] / 0.1
    deltas[:, 100, 2:] = (torch.tensor([0.5, 0.5]) / default[2:]).log() / 0.2
    square, wide = head.predict(SSDLiteOutputs(logits, deltas), torch.tensor([[96, 96], [200, 400]]))
    torch.testing.assert_close(square.boxes_xyxy_px, torch.tensor([[48.0, 48.0, 96.0, 96.0]]), atol=1e-3, rtol=0)
    torch.testing.assert_close(wide.boxes_xyxy_px, torch.tensor([[200.0, 100.0, 400.0, 200.0]]), atol=1e-3, rtol=0)
    assert wide.labels.tolist() == [2]
    assert wide.scores.item() == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("score", ClassScore)
def test_not_a_number_in_the_outputs_does_not_crash(score: ClassScore) -> None:
    head = small_head(score)
    nothing = SSDLiteOutputs(torch.full((2, 192, 1 + CLASSES), torch.nan), torch.full((2, 192, 4), torch.nan))
    assert [len(d.scores) for d in head.predict(nothing, torch.full((2, 2), 96))] == [0, 0]


def test_infinite_offsets_stay_within_the_image() -> None:
    head = small_head(ClassScore.sigmoid)
    deltas = torch.tensor([torch.inf, -torch.inf, 1e30, -1e30]).expand(1, 192, 4)
    [found] = head.predict(SSDLiteOutputs(torch.randn(1, 192, 1 + CLASSES), deltas), torch.tensor([[50, 80]]))
    low, high = torch.tensor(0.0), torch.tensor([80.0, 50.0, 80.0, 50.0])
    assert ((found.boxes_xyxy_px >= low) & (found.boxes_xyxy_px <= high)).all()
