"""The models of the papers' tables, built from our parts, and what each costs when it is traced."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from backbone.blocks import ConvNormAct, Norm
from backbone.config import MobileNetV2Config
from backbone.cost import cost
from heads.ssdlite.config import SSDLiteConfig
from heads.ssdlite.head import SSDLite

if TYPE_CHECKING:
    from collections.abc import Callable

CLASSES = 1000
DEEPLAB_CHANNELS = 256
ASPP_RATES = {16: (6, 12, 18), 8: (12, 24, 36)}
"""DeepLabv3's, by output stride."""
SCALES = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
"""Of multi-scale evaluation (section 6.3)."""


class Measured(NamedTuple):
    """Counts, not millions."""

    parameters: int
    multiply_adds: int


class Classifier(nn.Module):
    """A backbone, the mean over all cells, and one linear layer."""

    def __init__(self, config: MobileNetV2Config, num_classes: int = CLASSES) -> None:
        super().__init__()
        self.backbone = config.build(["last"])
        self.classifier = nn.Linear(config.specs["last"].channels, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        scores: Tensor = self.classifier(self.backbone(images)["last"].mean((2, 3)))
        return scores


class WithHead(nn.Module):
    """A backbone and a head, from scaled images to raw outputs."""

    def __init__(self, backbone: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head

    def forward(self, images: Tensor) -> Any:
        return self.head(self.backbone(images))


class SSD(SSDLite):
    """The head of Table 5's first row: every separable convolution is a regular 3x3 one."""

    def _extra(self, in_channels: int, out_channels: int) -> nn.Sequential:
        half = out_channels // 2
        return nn.Sequential(
            ConvNormAct(in_channels, half, norm=self.norm),
            ConvNormAct(half, out_channels, 3, stride=2, padding=self.config.padding, norm=self.norm),
        )

    def _predictor(self, in_channels: int, out_channels: int) -> nn.Sequential:
        return nn.Sequential(nn.Conv2d(in_channels, out_channels, 3, padding=1))


class DeepLabCost(nn.Module):
    """Section 6.3's head in its arithmetic, with or without the three atrous branches. To be counted, not trained."""

    def __init__(self, output_stride: int, aspp: bool, num_classes: int = 21) -> None:
        super().__init__()
        config = MobileNetV2Config(output_stride=output_stride)
        channels, norm = config.specs["stage7"].channels, Norm()
        self.backbone = config.build(["stage7"])
        self.pooled = ConvNormAct(channels, DEEPLAB_CHANNELS, norm=norm)
        self.branches = nn.ModuleList([ConvNormAct(channels, DEEPLAB_CHANNELS, norm=norm)])
        for rate in ASPP_RATES[output_stride] if aspp else ():
            self.branches.append(ConvNormAct(channels, DEEPLAB_CHANNELS, 3, dilation=rate, norm=norm))
        joined = DEEPLAB_CHANNELS * (1 + len(self.branches))
        self.project = ConvNormAct(joined, DEEPLAB_CHANNELS, norm=norm)
        self.classifier = nn.Conv2d(DEEPLAB_CHANNELS, num_classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        x = self.backbone(images)["stage7"]
        pooled = F.interpolate(self.pooled(x.mean((2, 3), keepdim=True)), size=x.shape[-2:])
        scores: Tensor = self.classifier(self.project(torch.cat([pooled, *(branch(x) for branch in self.branches)], 1)))
        return scores


def classifier_cost(config: MobileNetV2Config, size: int = 224) -> Measured:
    """Of this backbone, with fresh weights, as a classifier of 1000 classes."""
    return _measured(Classifier(replace(config, weights=None)), size)


def _detector(head: type[SSDLite], part: str = "") -> Measured:
    config = SSDLiteConfig()
    backbone = MobileNetV2Config().build(config.taps)
    model = WithHead(backbone, head(config, backbone.specs, num_classes=80, image_size=320))
    return Measured(*cost(model, (1, 3, 320, 320)).part(part)) if part else _measured(model, 320)


def _deeplab(output_stride: int, aspp: bool, multi_scale: bool = False) -> Measured:
    model = DeepLabCost(output_stride, aspp)
    if not multi_scale:
        return _measured(model, 513)
    passes = [_measured(model, int(512 * scale) + 1) for scale in SCALES]
    return Measured(passes[0].parameters, 2 * sum(one.multiply_adds for one in passes))


def _measured(model: nn.Module, size: int) -> Measured:
    found = cost(model, (1, 3, size, size))
    return Measured(found.parameters, found.multiply_adds)


MODELS: dict[str, Callable[[], Measured]] = {
    "classifier 1.0": lambda: classifier_cost(MobileNetV2Config()),
    "classifier 1.4": lambda: classifier_cost(MobileNetV2Config(width=1.4)),
    "ssd head": lambda: _detector(SSD, "head"),
    "ssdlite head": lambda: _detector(SSDLite, "head"),
    "ssdlite": lambda: _detector(SSDLite),
    "deeplab 16": lambda: _deeplab(16, aspp=False),
    "deeplab 8 mf": lambda: _deeplab(8, aspp=False, multi_scale=True),
    "deeplab aspp 16": lambda: _deeplab(16, aspp=True),
    "deeplab aspp 8 mf": lambda: _deeplab(8, aspp=True, multi_scale=True),
}
