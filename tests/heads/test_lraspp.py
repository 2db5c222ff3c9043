"""Lite R-ASPP: the paper's costs, its pooling and its sums by hand."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from backbone import MobileNetV1Config, MobileNetV2Config, MobileNetV3LargeConfig, MobileNetV3SmallConfig
from backbone.build import build_backbone
from backbone.cost import cost
from backbone.errors import InputError
from backbone.families.mobilenet_v3 import ReducedTail
from backbone.features import FeatureSpec
from heads.build import build_head
from heads.deeplabv3.config import DeepLabV3Config
from heads.lraspp.config import Gate, LRASPPConfig, Pool
from heads.structures import SegmentationTargets
from tests.backbone.foreign import randomise

if TYPE_CHECKING:
    from backbone.config import MobileNetConfig
    from heads.lraspp.head import LRASPP

SPECS = {"context": FeatureSpec(6, 16), "c3.depthwise": FeatureSpec(4, 8)}


class Segmenter(nn.Module):
    def __init__(self, config: MobileNetConfig, head: Any) -> None:
        super().__init__()
        self.head = build_head(head, config.specs, num_classes=19, image_size=1025)
        self.backbone = build_backbone(config, self.head.taps)

    def forward(self, images: Tensor) -> object:
        return self.head(self.backbone(images))


def large(tail: ReducedTail = ReducedTail.segmentation, output_stride: int = 16) -> MobileNetConfig:
    return MobileNetV3LargeConfig(reduced_tail=tail, output_stride=output_stride)


def small(output_stride: int = 16) -> MobileNetConfig:
    return MobileNetV3SmallConfig(reduced_tail=ReducedTail.segmentation, output_stride=output_stride)


@pytest.mark.parametrize(
    ("config", "head", "parameters", "multiply_adds"),
    [
        (MobileNetV2Config(output_stride=16), DeepLabV3Config(), 2.113, 21.23),
        (large(ReducedTail.none), DeepLabV3Config(), 3.601, 18.16),
        (large(), DeepLabV3Config(), 1.762, 11.03),
        (large(), LRASPPConfig(channels=256), 1.633, 10.13),
        (large(), LRASPPConfig(), 1.507, 9.53),
        (small(), LRASPPConfig(), 0.469, 2.78),
        (large(output_stride=32), LRASPPConfig(), 1.507, 7.58),
        (small(output_stride=32), LRASPPConfig(), 0.469, 1.96),
    ],
    ids=["1", "5", "6", "7", "8", "11", "8 at 32", "11 at 32"],
)
def test_cost_is_the_papers(config: MobileNetConfig, head: Any, parameters: float, multiply_adds: float) -> None:
    """Rows of MobileNetV3, Tables 7 and 8, counted by hand: M parameters and B multiply-adds at 1025 x 2049."""
    with torch.device("meta"):
        model = Segmenter(config, head)
    found = cost(model, (1, 3, 1025, 2049))
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(parameters, abs=1.1e-3)
    assert found.multiply_adds / 1e9 == pytest.approx(multiply_adds, abs=0.011)


def small_head(**options: Any) -> LRASPP:
    head: Any = build_head(LRASPPConfig(channels=5, **options), SPECS, num_classes=3, image_size=64)
    randomise(head)
    return head  # type: ignore[no-any-return]


@pytest.mark.parametrize("cells", [(9, 12), (60, 12), (52, 70)])
def test_by_hand(cells: tuple[int, int]) -> None:
    """Windows of 49 cells, 16 rows and 20 columns apart, and never larger than the map."""
    torch.manual_seed(0)
    head = small_head().double()
    high = torch.randn(2, 6, *cells, dtype=torch.float64)
    low = torch.randn(2, 4, 2 * cells[0] - 1, 2 * cells[1] - 1, dtype=torch.float64)
    size = [min(49, side) for side in cells]
    rows = range(0, cells[0] - size[0] + 1, 16) if cells[0] > 49 else [0]
    columns = range(0, cells[1] - size[1] + 1, 20) if cells[1] > 49 else [0]
    means = torch.stack(
        [
            torch.stack([high[:, :, y : y + size[0], x : x + size[1]].mean((2, 3)) for x in columns], dim=2)
            for y in rows
        ],
        dim=2,
    )

    def one(conv: nn.Conv2d, x: Tensor) -> Tensor:
        y = torch.einsum("oi,nihw->nohw", conv.weight[:, :, 0, 0], x)
        return y if conv.bias is None else y + conv.bias[:, None, None]

    gate = (one(head.squeeze, means) + 3).clamp(0, 6) / 6
    gate = F.interpolate(gate, cells, mode="bilinear", align_corners=True)
    projected = head.project.norm(one(head.project.conv, high)).clamp(min=0) * gate
    wide = F.interpolate(projected, low.shape[-2:], mode="bilinear", align_corners=True)
    with torch.no_grad():
        expected = one(head.classifier, wide) + one(head.low_classifier, low)
        found = head({"context": high, "c3.depthwise": low})
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=1e-12)


def test_torchvisions_form() -> None:
    head = small_head(pool=Pool.whole, gate=Gate.sigmoid, gate_bias=False, aligned_corners=False)
    assert head.squeeze.bias is None
    assert isinstance(head.gate, nn.Sigmoid)
    assert head._pooled(torch.zeros(1, 6, 80, 80)).shape == (1, 6, 1, 1)


@pytest.mark.parametrize(
    "config", [MobileNetV1Config, MobileNetV2Config, MobileNetV3LargeConfig, MobileNetV3SmallConfig]
)
@pytest.mark.parametrize("head", [LRASPPConfig, DeepLabV3Config])
def test_learns_on_every_network(config: Any, head: Any) -> None:
    """Also where the map has one cell."""
    model = Segmenter(config(width=0.25, output_stride=16), head(channels=8)).train()
    for side in (16, 65):
        outputs: Any = model(torch.randn(2, 3, side, side))
        masks = torch.randint(19, (2, side, side), dtype=torch.uint8)
        model.head.loss(outputs, SegmentationTargets(masks))["pixel"].backward()
    gradients = [parameter.grad for parameter in model.head.parameters()]
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)


def test_a_level_that_the_network_lacks() -> None:
    config = MobileNetV1Config(separable=False)
    message = "head.low_tap=c3.depthwise: the backbone has no such feature; it has stem, stage1, stage2.first"
    with pytest.raises(InputError, match=f"^{re.escape(message)}"):
        build_head(LRASPPConfig(), config.specs, num_classes=3, image_size=64)
