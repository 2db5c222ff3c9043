"""The models of the papers' tables, built from our parts, and what each costs when it is traced."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from torch import Tensor, nn

from backbone.blocks import ConvNormAct
from backbone.build import MobileNetV2, build_backbone
from backbone.cost import cost
from backbone.families.mobilenet_v2 import MobileNetV2Config
from heads.build import build_head
from heads.deeplabv3.config import Aspp, DeepLabV3Config
from heads.linear.config import LinearConfig
from heads.ssdlite.config import SSDLiteConfig
from heads.ssdlite.head import SSDLite
from tasks.inference import SCALES, scaled_size

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from backbone.config import MobileNetConfig

CLASSES = 1000


class Measured(NamedTuple):
    """Counts, not millions."""

    parameters: int
    multiply_adds: int


class WithHeads(nn.Module):
    """A backbone and heads, from scaled images to raw outputs by the head's name.

    Args:
        heads: by name, which is the name of the part too.
    """

    def __init__(self, backbone: nn.Module, heads: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.backbone = backbone
        self.names = list(heads)
        for name, head in heads.items():
            self.add_module(name, head)

    @classmethod
    def build(cls, backbone: Any, heads: Mapping[str, Any], *, num_classes: int, image_size: int) -> WithHeads:
        """From configurations."""
        built = {
            name: build_head(head, backbone.specs, num_classes=num_classes, image_size=image_size)
            for name, head in heads.items()
        }
        taps = dict.fromkeys(tap for head in built.values() for tap in head.taps)
        return cls(build_backbone(backbone, list(taps)), built)

    def forward(self, images: Tensor) -> dict[str, Any]:
        features = self.backbone(images)
        return {name: self.get_submodule(name)(features) for name in self.names}


def classifier(config: MobileNetConfig, num_classes: int = CLASSES) -> WithHeads:
    """A backbone and the classifier of its paper."""
    return WithHeads.build(config, {"classifier": LinearConfig()}, num_classes=num_classes, image_size=224)


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


def classifier_cost(config: MobileNetConfig, size: int = 224) -> Measured:
    """Cost of this backbone, with fresh weights, as a classifier of 1000 classes."""
    return _measured(classifier(replace(config, weights=None)), size)


def _detector(head: type[SSDLite], part: str = "") -> Measured:
    config = SSDLiteConfig()
    backbone = MobileNetV2(features=config.taps)
    model = WithHeads(backbone, {"head": head(config, backbone.specs, num_classes=80, image_size=320)})
    return Measured(*cost(model, (1, 3, 320, 320)).part(part)) if part else _measured(model, 320)


def _deeplab(output_stride: int, aspp: bool, multi_scale: bool = False) -> Measured:
    config = DeepLabV3Config(aspp=Aspp.full if aspp else Aspp.reduced)
    backbone = MobileNetV2(output_stride=output_stride, features=[config.tap])
    head = build_head(config, backbone.specs, num_classes=21, image_size=513)
    model = WithHeads(backbone, {"head": head})
    if not multi_scale:
        return _measured(model, 513)
    passes = [_measured(model, scaled_size(513, 513, scale)[0]) for scale in SCALES]
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
