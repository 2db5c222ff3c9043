"""The models of the MobileNetV1 and V3 papers' tables."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from backbone.cost import cost
from backbone.families.mobilenet_v1 import MobileNetV1Config
from backbone.families.mobilenet_v2 import MobileNetV2Config
from backbone.families.mobilenet_v3 import MobileNetV3LargeConfig, MobileNetV3SmallConfig, ReducedTail
from heads.deeplabv3.config import DeepLabV3Config
from heads.linear.config import LinearConfig
from heads.lraspp.config import LRASPPConfig
from heads.ssdlite.config import SSDLiteConfig
from tasks.commands.profile.models import Measured, WithHeads

if TYPE_CHECKING:
    from collections.abc import Callable

    from backbone.config import MobileNetConfig

V3 = {"large": MobileNetV3LargeConfig, "small": MobileNetV3SmallConfig}
DOGS = 120
CITYSCAPES = 19
CITY = (1025, 2049)
"""Pixels whose last cell of a map at stride 16 is the last pixel."""


def measured(config: MobileNetConfig, head: Any, *, num_classes: int, size: tuple[int, int]) -> Measured:
    """What a backbone with a head costs at an image of height and width `size`."""
    with torch.device("meta"):  # shapes without data, which take no time to fill
        model = WithHeads.build(config, {"head": head}, num_classes=num_classes, image_size=size[0])
    found = cost(model, (1, 3, *size))
    return Measured(found.parameters, found.multiply_adds)


def _classifier(config: MobileNetConfig, size: int = 224, num_classes: int = 1000) -> Measured:
    return measured(config, LinearConfig(), num_classes=num_classes, size=(size, size))


def _detector(config: MobileNetConfig, num_classes: int = 90) -> Measured:
    return measured(config, SSDLiteConfig(), num_classes=num_classes, size=(320, 320))


def _segmenter(config: MobileNetConfig, head: Any) -> Measured:
    return measured(config, head, num_classes=CITYSCAPES, size=CITY)


def _rf2(name: str, output_stride: int = 16) -> MobileNetConfig:
    return V3[name](reduced_tail=ReducedTail.segmentation, output_stride=output_stride)


MODELS: dict[str, Callable[[], Measured]] = {
    **{
        f"v1 {width} {size}": partial(_classifier, MobileNetV1Config(width=width), size)
        for width in (1.0, 0.75, 0.5, 0.25)
        for size in (224, 192, 160, 128)
    },
    **{
        f"v1 dogs {width} {size}": partial(_classifier, MobileNetV1Config(width=width), size, DOGS)
        for width in (1.0, 0.75)
        for size in (224, 192)
    },
    "v1 full": partial(_classifier, MobileNetV1Config(separable=False)),
    "v1 shallow": partial(_classifier, MobileNetV1Config(shallow=True)),
    "v1 ssdlite": partial(_detector, MobileNetV1Config(), 80),
    "classifier 0.35": partial(_classifier, MobileNetV2Config(width=0.35)),
    "v2 r-aspp": partial(_segmenter, MobileNetV2Config(output_stride=16), DeepLabV3Config()),
    **{f"v3 {name} {width}": partial(_classifier, V3[name](width=width)) for name in V3 for width in (1.0, 0.75)},
    **{f"v3 {name} ssdlite": partial(_detector, V3[name]()) for name in V3},
    **{f"v3 {name} ssdlite reduced": partial(_detector, V3[name](reduced_tail=ReducedTail.detection)) for name in V3},
    "v3 large r-aspp": partial(_segmenter, MobileNetV3LargeConfig(output_stride=16), DeepLabV3Config()),
    "v3 large rf2 r-aspp": partial(_segmenter, _rf2("large"), DeepLabV3Config()),
    "v3 large rf2 lr 256": partial(_segmenter, _rf2("large"), LRASPPConfig(channels=256)),
    **{f"v3 {name} rf2 lr 128": partial(_segmenter, _rf2(name), LRASPPConfig()) for name in V3},
    **{f"v3 {name} rf2 lr 128 32": partial(_segmenter, _rf2(name, 32), LRASPPConfig()) for name in V3},
}
