"""DeepLabv3+'s decoder: counts by hand, its values by plain functions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from backbone import MobileNetV2
from backbone.cost import cost
from backbone.errors import InputError
from backbone.features import FeatureSpec
from heads.build import build_head
from heads.deeplabv3.config import DeepLabV3Config
from tasks.commands.profile.models import WithHeads
from tests.backbone.foreign import randomise

if TYPE_CHECKING:
    from heads.segmentation.blocks import ConvNormReLU

SPECS = {"c2": FeatureSpec(6, 4), "context": FeatureSpec(20, 16)}


def head_of(**options: object):
    config = DeepLabV3Config(channels=8, **options)  # type: ignore[arg-type]
    return build_head(config, SPECS, num_classes=5, image_size=64)


def test_parameters_and_multiply_adds_by_hand() -> None:
    """At 65 px c2 has 17 x 17 cells of 24 channels, the projection 5 x 5 of 256."""

    def of(**options: object) -> tuple[int, int]:
        config = DeepLabV3Config(**options)  # type: ignore[arg-type]
        backbone = MobileNetV2(output_stride=16, features=sorted({"context", "c2"}))
        head = build_head(config, backbone.specs, num_classes=21, image_size=65)
        found = cost(WithHeads(backbone, {"head": head}), (1, 3, 65, 65))
        return found.parameters, found.multiply_adds

    (before, computed), (after, computes) = of(), of(skip="c2")
    weights = 24 * 48 + 9 * 304 + 304 * 256 + 9 * 256 + 256 * 256
    norms = 2 * (48 + 304 + 256 + 256 + 256)
    assert after - before == weights + norms
    assert computes - computed == 17 * 17 * (weights + 256 * 21) - 5 * 5 * 256 * 21


def test_values_by_plain_functions() -> None:
    head = head_of(skip="c2", skip_channels=3).eval()
    randomise(head)
    features = {"c2": torch.randn(2, 6, 17, 13), "context": torch.randn(2, 20, 5, 4)}

    def plain(block: ConvNormReLU, x: Tensor) -> Tensor:
        weight, norm = block.conv.weight, block.norm
        x = F.conv2d(x, weight, padding=weight.shape[-1] // 2, groups=block.conv.groups)
        return F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps).relu()

    with torch.no_grad():
        found = head(features)
        x = F.interpolate(head.aspp(features["context"]), (17, 13), mode="bilinear", align_corners=True)
        x = torch.cat([x, plain(head.decoder.reduce, features["c2"])], dim=1)
        for block in head.decoder.refine:
            x = plain(block, x)
        wanted = F.conv2d(x, head.classifier.weight, head.classifier.bias)
    assert found.shape == (2, 5, 17, 13)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)


def test_without_skip_nothing_changes() -> None:
    assert head_of().taps == ["context"]
    assert not [name for name in head_of().state_dict() if "decoder" in name]


def test_bad_values_are_named() -> None:
    with pytest.raises(InputError, match=r"head.skip=c9: the backbone has no such feature; it has c2, context"):
        head_of(skip="c9")
    with pytest.raises(InputError, match=r"head.skip_channels=0: must be at least 1"):
        DeepLabV3Config(skip_channels=0)
    with pytest.raises(InputError, match=r"head.skip=c2: has 3x3 convolutions of its own; leave head.refine out"):
        DeepLabV3Config(skip="c2", refine=True)
