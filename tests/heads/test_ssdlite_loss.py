"""The losses against loops over images and default boxes, and against torchvision's SSD."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.models.detection._utils import BoxCoder, SSDMatcher
from torchvision.models.detection.ssd import SSD
from torchvision.ops import box_iou

from backbone.features import FeatureSpec
from heads.ssdlite.box_coder import encode, to_cxcywh, to_xyxy
from heads.ssdlite.config import ClassScore, SSDLiteConfig
from heads.ssdlite.head import SSDLite, SSDLiteOutputs
from heads.ssdlite.loss import _Softplus
from heads.ssdlite.matcher import match
from heads.structures import DetectionTargets

CLASSES = 5
SPECS = {"near": FeatureSpec(24, 16), "far": FeatureSpec(32, 32)}


def small_head(score: ClassScore = ClassScore.sigmoid, min_negatives: int = 3) -> SSDLite:
    """192 default boxes."""
    config = SSDLiteConfig(taps=["near", "far"], extra_channels=[16, 16], score=score, min_negatives=min_negatives)
    return SSDLite(config, SPECS, num_classes=CLASSES, image_size=96)


def random_outputs(images: int, head: SSDLite) -> SSDLiteOutputs:
    boxes = len(head.default_boxes_cxcywh)
    return SSDLiteOutputs(
        (2 * torch.randn(images, boxes, 1 + CLASSES)).requires_grad_(),
        torch.randn(images, boxes, 4).requires_grad_(),
    )


def random_targets(counts: list[int], crowd: float = 0.0) -> DetectionTargets:
    most = max(counts)
    padding = torch.arange(most) >= torch.tensor(counts)[:, None]
    side = 0.05 + 0.6 * torch.rand(len(counts), most, 2)
    low = torch.rand(len(counts), most, 2) * (1 - side)
    boxes = torch.cat([low, low + side], dim=-1).masked_fill(padding[..., None], 0)
    labels = torch.randint(CLASSES, (len(counts), most)).masked_fill(padding, -1)
    return DetectionTargets(boxes, labels, (torch.rand(len(counts), most) < crowd) & ~padding)


def permuted(targets: DetectionTargets, order: list[int]) -> DetectionTargets:
    return DetectionTargets(targets.boxes_xyxy_rel[order], targets.labels[order], targets.crowd[order])


def gradients(head: SSDLite, outputs: SSDLiteOutputs, targets: DetectionTargets) -> tuple[Tensor, Tensor]:
    losses = head.loss(outputs, targets)
    logits, deltas = torch.autograd.grad(losses["class_loss"] + losses["box_loss"], [outputs.logits, outputs.deltas])
    assert logits.isfinite().all()
    assert deltas.isfinite().all()
    return logits, deltas


def naive_loss(head: SSDLite, outputs: SSDLiteOutputs, targets: DetectionTargets) -> dict[str, Tensor]:
    """From the paper's words, image by image and box by box."""
    defaults = head.default_boxes_cxcywh
    matches = match(targets, to_xyxy(defaults), head.config.match_iou)
    class_loss, box_loss, matched = torch.tensor(0.0), torch.tensor(0.0), 0
    for n in range(len(outputs.logits)):
        negatives, positives = [], 0
        for a, default in enumerate(defaults):
            logits = outputs.logits[n, a]
            label = 0
            if matches.positive[n, a]:
                m = matches.objects[n, a]
                label = 1 + int(targets.labels[n, m])
            if head.config.score is ClassScore.softmax:
                loss = -logits.log_softmax(0)[label]
            else:
                wanted = F.one_hot(torch.tensor(label), 1 + CLASSES).float()
                loss = F.binary_cross_entropy_with_logits(logits, wanted, reduction="sum")
            if matches.positive[n, a]:
                positives += 1
                class_loss = class_loss + loss
                offsets = encode(to_cxcywh(targets.boxes_xyxy_rel[n, m]), default)
                box_loss = box_loss + F.smooth_l1_loss(outputs.deltas[n, a], offsets, reduction="sum")
            elif not matches.ignored[n, a]:
                negatives.append(loss)
        negatives.sort(key=lambda loss: -loss.item())
        class_loss = class_loss + sum(negatives[: max(head.config.min_negatives, 3 * positives)])
        matched += positives
    return {"class_loss": class_loss / max(matched, 1), "box_loss": box_loss / max(matched, 1)}


@pytest.mark.parametrize("score", ClassScore)
@pytest.mark.parametrize("seed", range(2))
def test_equals_loops(score: ClassScore, seed: int) -> None:
    torch.manual_seed(seed)
    head = small_head(score)
    outputs, targets = random_outputs(4, head), random_targets([3, 0, 7, 1], crowd=0.3)
    found, wanted = head.loss(outputs, targets), naive_loss(head, outputs, targets)
    assert found.keys() == wanted.keys()
    torch.testing.assert_close(found, wanted)
    ours = torch.autograd.grad(found["class_loss"] + found["box_loss"], list(outputs))
    theirs = torch.autograd.grad(wanted["class_loss"] + wanted["box_loss"], list(outputs))
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


def without_shared_best_boxes(targets: DetectionTargets, defaults: Tensor) -> list[Tensor]:
    """Which objects of each image to keep: torchvision lets the last of those that share one win."""
    kept = []
    for boxes, labels in zip(targets.boxes_xyxy_rel, targets.labels, strict=True):
        best = box_iou(boxes[labels >= 0], defaults).argmax(dim=1).tolist()
        kept.append(torch.tensor([best.index(b) for b in dict.fromkeys(best)]))
    return kept


@pytest.mark.parametrize("seed", range(3))
def test_equals_torchvision(seed: int) -> None:
    torch.manual_seed(seed)
    head = small_head(ClassScore.softmax)
    anchors = to_xyxy(head.default_boxes_cxcywh)
    targets = random_targets([4, 1, 9])
    listed = []
    for n, kept in enumerate(without_shared_best_boxes(targets, anchors)):
        listed.append({"boxes": targets.boxes_xyxy_rel[n, kept], "labels": targets.labels[n, kept] + 1})
        gone = torch.ones_like(targets.labels[n], dtype=torch.bool).index_fill(0, kept, value=False)
        targets.labels[n, gone] = -1
        targets.boxes_xyxy_rel[n, gone] = 0
    outputs = random_outputs(3, head)
    matched = [SSDMatcher(0.5)(box_iou(target["boxes"], anchors)) for target in listed]
    theirs = SSD.compute_loss(
        SimpleNamespace(box_coder=BoxCoder(weights=(10.0, 10.0, 5.0, 5.0)), neg_to_pos_ratio=3.0),
        listed,
        {"cls_logits": outputs.logits, "bbox_regression": outputs.deltas},
        [anchors] * 3,
        matched,
    )
    ours = head.loss(outputs, targets)
    torch.testing.assert_close(ours["class_loss"], theirs["classification"])
    torch.testing.assert_close(ours["box_loss"], theirs["bbox_regression"], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("score", ClassScore)
def test_an_image_without_objects_teaches_by_its_three_hardest_negatives(score: ClassScore) -> None:
    torch.manual_seed(0)
    head = small_head(score)
    outputs, targets = random_outputs(2, head), random_targets([4, 0])
    logits, deltas = gradients(head, outputs, targets)
    assert int(logits[1].abs().sum(dim=-1).gt(0).sum()) == 3
    assert not deltas[1].any()


@pytest.mark.parametrize("most", [0, 2])
def test_no_objects_in_the_whole_batch(most: int) -> None:
    torch.manual_seed(0)
    head = small_head()
    empty = random_targets([0, 0, 0])
    targets = DetectionTargets(
        torch.zeros(3, most, 4), torch.full((3, most), -1), torch.zeros(3, most, dtype=torch.bool)
    )
    outputs = random_outputs(3, head)
    losses = head.loss(outputs, targets)
    assert losses["class_loss"].isfinite()
    assert losses["class_loss"] > 0
    assert losses["box_loss"] == 0
    assert losses["class_loss"] == head.loss(outputs, empty)["class_loss"]
    logits, deltas = gradients(head, outputs, targets)
    assert logits.any(dim=-1).sum(dim=1).tolist() == [3, 3, 3]
    assert not deltas.any()


def test_three_negatives_for_each_positive() -> None:
    torch.manual_seed(0)
    head = small_head()
    outputs, targets = random_outputs(2, head), random_targets([2, 5])
    positives = match(targets, to_xyxy(head.default_boxes_cxcywh), 0.5).positive.sum(dim=1)
    logits, _ = gradients(head, outputs, targets)
    assert logits.any(dim=-1).sum(dim=1).tolist() == (4 * positives).tolist()


@pytest.mark.parametrize("score", ClassScore)
def test_default_boxes_in_a_crowd_learn_nothing(score: ClassScore) -> None:
    torch.manual_seed(0)
    head = small_head(score, min_negatives=10**6)  # all that may be negative are
    targets = random_targets([1, 2])
    targets.boxes_xyxy_rel[0, 0] = torch.tensor([0.1, 0.1, 0.7, 0.9])
    targets.crowd[0, 0] = True
    ignored = match(targets, to_xyxy(head.default_boxes_cxcywh), 0.5).ignored
    assert 10 < int(ignored[0].sum()) < len(ignored[0])
    logits, deltas = gradients(head, random_outputs(2, head), targets)
    assert torch.equal(logits.any(dim=-1), ~ignored)
    assert not deltas[0].any()


def test_the_order_of_the_images_and_padding_do_not_matter() -> None:
    torch.manual_seed(0)
    head = small_head()
    outputs, targets, order = random_outputs(4, head), random_targets([3, 0, 6, 1], crowd=0.2), [2, 3, 0, 1]
    logits, deltas = gradients(head, outputs, targets)
    shuffled = SSDLiteOutputs(outputs.logits[order], outputs.deltas[order])
    torch.testing.assert_close(head.loss(shuffled, permuted(targets, order)), head.loss(outputs, targets))
    got = gradients(head, shuffled, permuted(targets, order))
    torch.testing.assert_close(got, (logits[order], deltas[order]))
    padded = DetectionTargets(
        F.pad(targets.boxes_xyxy_rel, (0, 0, 0, 2)),
        F.pad(targets.labels, (0, 2), value=-1),
        F.pad(targets.crowd, (0, 2)),
    )
    torch.testing.assert_close(head.loss(outputs, padded), head.loss(outputs, targets))


def test_a_batch_of_one() -> None:
    torch.manual_seed(0)
    head = small_head()
    outputs, targets = random_outputs(1, head), random_targets([1])
    torch.testing.assert_close(head.loss(outputs, targets), naive_loss(head, outputs, targets))


@pytest.mark.parametrize("score", ClassScore)
def test_bfloat16_outputs_give_a_float32_loss(score: ClassScore) -> None:
    torch.manual_seed(0)
    head = small_head(score)
    outputs, targets = random_outputs(3, head), random_targets([3, 0, 2])
    half = SSDLiteOutputs(outputs.logits.bfloat16(), outputs.deltas.bfloat16())
    losses = head.loss(half, targets)
    exact = head.loss(SSDLiteOutputs(half.logits.float(), half.deltas.float()), targets)
    assert {loss.dtype for loss in losses.values()} == {torch.float32}
    torch.testing.assert_close(losses, exact)
    gradients(head, outputs, targets)


def test_large_logits_stay_finite() -> None:
    head = small_head()
    outputs, targets = random_outputs(2, head), random_targets([2, 0])
    huge = SSDLiteOutputs(outputs.logits * 1e4, outputs.deltas * 1e4)
    gradients_of = gradients(head, SSDLiteOutputs(*(x.detach().requires_grad_() for x in huge)), targets)
    assert all(g.abs().max() <= 1 for g in gradients_of)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_softplus_is_pytorchs(dtype: torch.dtype) -> None:
    """Values up to the rounding of 1, gradients up to that of the sigmoid, from underflow to overflow of e^x."""
    x = torch.cat([torch.linspace(-30, 30, 2001), torch.tensor([-1e4, -100.0, 0.0, 100.0, 1e4])]).to(dtype)
    given = x.clone().requires_grad_()
    found = _Softplus.apply(given)
    eps = torch.finfo(dtype).eps
    torch.testing.assert_close(found, torch.logaddexp(x, torch.zeros_like(x)), rtol=4 * eps, atol=2 * eps)
    found.sum().backward()
    torch.testing.assert_close(given.grad, x.sigmoid(), rtol=4 * eps, atol=0)
