"""Small models with random weights, made without a training."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from backbone.build import build_backbone
from backbone.families.mobilenet_v2 import MobileNetV2Config
from heads.build import build_head
from heads.deeplabv3.config import DeepLabV3Config
from heads.linear.config import LinearConfig
from heads.ssdlite.config import SSDLiteConfig
from tasks.data.labels import LabelMap
from tasks.data.transforms.whole import EvalTransform
from tasks.model import VisionModel
from tasks.predictor import Predictor

if TYPE_CHECKING:
    from tasks.data.sample import Transform

NAMES = ("ant", "bee", "cat")
IDS = (7, 11, 90)
HEADS = {"classification": LinearConfig, "detection": SSDLiteConfig, "segmentation": DeepLabV3Config}


def predictor(*heads: str, size: int = 64, transform: Transform | None = None, same_size: bool = True) -> Predictor:
    """One backbone with the heads named; `detection_2` is a second one of its kind."""
    torch.manual_seed(0)
    config = MobileNetV2Config(width=0.1)
    built = {
        name: build_head(HEADS[name.partition("_")[0]](), config.specs, num_classes=len(NAMES), image_size=size)
        for name in heads
    }
    backbone = build_backbone(config, sorted({tap for head in built.values() for tap in head.taps}))
    return Predictor(
        VisionModel(backbone, built),
        dict.fromkeys(heads, LabelMap(NAMES, IDS)),
        transform or EvalTransform(size),
        same_size=same_size,
        batch_size=4,
        score=0.0,
    )
