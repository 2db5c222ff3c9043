"""Dice loss and class weights by hand and by a loop over classes."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from backbone.errors import InputError
from backbone.features import FeatureSpec
from heads.deeplabv3.config import DeepLabV3Config
from heads.deeplabv3.head import DeepLabV3
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
    for wrong in ("some", [1, -1], ["a"]):
        with pytest.raises(InputError, match=r"head.class_weights=.*: must be auto, or numbers that are finite"):
            DeepLabV3Config(class_weights=wrong)
