"""Mobile DeepLabv3. Shapes: N images, C channels, K classes, h w cells of the logits.

Reference: MobileNetV2, arXiv:1801.04381, section 6.3; DeepLabv3, arXiv:1706.05587, section 3.3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from backbone.blocks import Norm
from heads.deeplabv3.aspp import ASPP
from heads.deeplabv3.config import Aspp, DeepLabV3Config
from heads.segmentation.blocks import pixel_classifier
from heads.segmentation.head import SegmentationHead

if TYPE_CHECKING:
    from collections.abc import Mapping

    from backbone.features import Features, FeatureSpec

RATES_AT_STRIDE_1 = (96, 192, 288)
"""Atrous rates in pixels: 6, 12 and 18 cells at stride 16."""
FOREIGN = {"conv_pool": "aspp.pooled", "conv_aspp": "aspp.branches.0", "conv_projection": "aspp.project"}
FOREIGN_KINDS = {"convolution": "conv", "normalization": "norm"}


class DeepLabV3(SegmentationHead):
    """Atrous spatial pyramid pooling and a classifier of its cells. Arguments and errors: see `SegmentationHead`."""

    def __init__(self, config: DeepLabV3Config, specs: Mapping[str, FeatureSpec], *, num_classes: int) -> None:
        super().__init__(config, specs, taps={"tap": config.tap}, num_classes=num_classes)
        spec = specs[config.tap]
        rates = [rate // spec.stride for rate in RATES_AT_STRIDE_1] if config.aspp is Aspp.full else []
        self.aspp = ASPP(spec.channels, config.channels, rates, Norm(config.bn_eps, config.bn_momentum))
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = pixel_classifier(config.channels, num_classes)

    def forward(self, features: Features) -> Tensor:
        """Logits (N, K, h, w), as coarse as the tapped map (N, C, h, w)."""
        logits: Tensor = self.classifier(self.dropout(self.aspp(features[self.config.tap])))
        return logits

    def convert_state_dict(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Head of transformers' `MobileNetV2ForSemanticSegmentation`, a reduced one (see `Head.convert_state_dict`)."""
        found = {}
        for name, tensor in tensors.items():
            match name.split("."):
                case ["segmentation_head", "classifier", "convolution", tail]:
                    found[f"classifier.{tail}"] = tensor
                case ["segmentation_head", part, kind, tail] if part in FOREIGN and kind in FOREIGN_KINDS:
                    found[f"{FOREIGN[part]}.{FOREIGN_KINDS[kind]}.{tail}"] = tensor
        return found
