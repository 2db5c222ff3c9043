"""Dice loss, Lovász-Softmax loss and class weights by hand, by loops over classes and over thresholds."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from backbone.errors import InputError
from backbone.features import FeatureSpec
from heads.deeplabv3.config import DeepLabV3Config
from heads.deeplabv3.head import DeepLabV3
from heads.segmentation.lovasz import lovasz_loss
from heads.segmentation.upsample import matrix
from heads.structures import SegmentationTargets

CLASSES = 4


def head_of(**options: object) -> DeepLabV3:
    config = DeepLabV3Config(channels=8, **options)  # type: ignore[arg-type]
    return DeepLabV3(config, {"context": FeatureSpec(8, 16)}, num_classes=CLASSES)


def test_dice_is_a_loop_over_classes_that_occur() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, CLASSES, 3, 3, generator=generator).requires_grad_()
    masks = torch.randint(3, (2, 33, 33), generator=generator).to(torch.uint8)  # class 3 does not occur
    masks[0, :10] = 255
    losses = head_of(dice=0.5).loss(logits, SegmentationTargets(masks))
    scores = F.interpolate(logits.double(), (33, 33), mode="bilinear", align_corners=True).softmax(dim=1)
    valid = masks != 255
    by_class = []
    for label in range(3):
        truth = (masks == label)[valid].double()
        predicted = scores[:, label][valid]
        by_class.append(1 - 2 * (truth * predicted).sum() / (truth.sum() + predicted.sum()))
    torch.testing.assert_close(losses["dice"].double(), 0.5 * torch.stack(by_class).mean(), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(losses["pixel"], head_of().loss(logits, SegmentationTargets(masks))["pixel"])
    assert torch.autograd.grad(losses["dice"], logits)[0].isfinite().all()


def test_dice_of_nothing_is_zero_and_of_the_truth_nearly() -> None:
    void = torch.full((1, 17, 17), 255, dtype=torch.uint8)
    assert head_of(dice=1.0).loss(torch.zeros(1, CLASSES, 2, 2), SegmentationTargets(void))["dice"] == 0
    sure = torch.zeros(1, CLASSES, 2, 2)
    sure[:, 1] = 50
    ones = torch.ones(1, 17, 17, dtype=torch.uint8)
    assert head_of(dice=1.0).loss(sure, SegmentationTargets(ones))["dice"] < 1e-6


def test_classes_weigh_the_median_share_over_theirs() -> None:
    head = head_of(class_weights="auto")
    head.weigh_classes(torch.tensor([0.9, 0.3, 0.0, 0.001]))
    assert head.class_weights.tolist() == pytest.approx([0.3 / 0.9, 1.0, 1.0, 10.0])


def test_bad_values_are_named() -> None:
    with pytest.raises(InputError, match=r"head.dice=-1: must be finite and not negative"):
        DeepLabV3Config(dice=-1)
    with pytest.raises(InputError, match=r"head.lovasz=inf: must be finite and not negative"):
        DeepLabV3Config(lovasz=float("inf"))
    for wrong in ("some", [1, -1], ["a"]):
        with pytest.raises(InputError, match=r"head.class_weights=.*: must be auto, or numbers that are finite"):
            DeepLabV3Config(class_weights=wrong)


def extension_of_jaccard_loss(errors: Tensor, is_class: Tensor) -> Tensor:
    """Integral over thresholds t in [0, 1] of the Jaccard loss |M| / |Y u M|, where M are the pixels whose error is at
    least t and Y those of the class (arXiv:1705.08790, equations 5 and 9): a loop over what M can be."""
    total, upper = errors.new_zeros(()), errors.new_zeros(())
    for threshold in errors.unique().tolist():
        wrong = errors >= threshold
        total = total + (threshold - upper) * wrong.sum() / (wrong | is_class).sum()
        upper = errors.new_tensor(threshold)
    return total


def test_lovasz_is_the_integral_over_thresholds() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(2, CLASSES, 3, 3, generator=generator).double()
    masks = torch.randint(3, (2, 33, 33), generator=generator).to(torch.uint8)  # class 3 does not occur
    masks[0, :10] = 255
    head = head_of(lovasz=0.5)
    found = head.loss(logits, SegmentationTargets(masks))["lovasz"]
    scores = F.interpolate(logits.float(), (33, 33), mode="bilinear", align_corners=True).softmax(dim=1)
    some, truth = scores[:, :, ::4, ::4], masks[:, ::4, ::4]
    valid = truth != 255
    by_class = []
    for label in range(3):
        is_class = (truth == label)[valid]
        predicted = some[:, label][valid]
        by_class.append(extension_of_jaccard_loss(torch.where(is_class, 1 - predicted, predicted), is_class))
    torch.testing.assert_close(found, 0.5 * torch.stack(by_class).mean(), atol=1e-5, rtol=1e-5)


def test_lovasz_of_certain_predictions_is_one_less_their_iou() -> None:
    """Nine pixels; six are class 1 and six are predicted so, four of these rightly: IoU 4 / 8, of class 0 1 / 5."""
    truth = torch.tensor([1, 1, 1, 1, 1, 1, 0, 0, 0], dtype=torch.uint8).view(3, 3)
    predicted = torch.tensor([1, 1, 1, 1, 0, 0, 1, 1, 0]).view(3, 3)
    logits = 100 * F.one_hot(predicted, CLASSES).permute(2, 0, 1)[None].float()
    masks = torch.full((1, 9, 9), 7, dtype=torch.uint8)
    masks[0, ::4, ::4] = truth
    found = lovasz_loss(logits, masks, matrix(3, 9, aligned_corners=True), matrix(3, 9, aligned_corners=True))
    assert found == pytest.approx((4 / 8 + 4 / 5) / 2)
    flat = logits.requires_grad_()
    loss = lovasz_loss(flat / 100, masks, matrix(3, 9, aligned_corners=True), matrix(3, 9, aligned_corners=True))
    assert torch.autograd.grad(loss, flat)[0].abs().sum() > 0


def test_lovasz_of_nothing_is_zero() -> None:
    void = torch.full((1, 17, 17), 255, dtype=torch.uint8)
    assert head_of(lovasz=1.0).loss(torch.zeros(1, CLASSES, 2, 2), SegmentationTargets(void))["lovasz"] == 0
