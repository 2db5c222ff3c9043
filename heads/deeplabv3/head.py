"""Mobile DeepLabv3. Shapes: N images, C channels, K classes, h w cells of the logits.

Reference: MobileNetV2, arXiv:1801.04381, section 6.3; DeepLabv3, arXiv:1706.05587, section 3.3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from backbone.blocks import Norm
from heads.deeplabv3.aspp import ASPP
from heads.deeplabv3.config import Aspp, DeepLabV3Config
from heads.deeplabv3.decoder import Decoder
from heads.segmentation.blocks import ConvNormReLU, pixel_classifier
from heads.segmentation.head import SegmentationHead

if TYPE_CHECKING:
    from collections.abc import Mapping

    from backbone.features import Features, FeatureSpec

RATES_AT_STRIDE_1 = (96, 192, 288)
"""Atrous rates in pixels: 6, 12 and 18 cells at stride 16."""
FOREIGN = {"conv_pool": "aspp.pooled", "conv_aspp": "aspp.branches.0", "conv_projection": "aspp.project"}
for _rate in (1, 2, 3):
    FOREIGN |= {
        f"conv_aspp{_rate}": f"aspp.branches.{_rate}",
        f"conv_aspp{_rate}_depthwise": f"aspp.branches.{_rate}.0",
        f"conv_aspp{_rate}_pointwise": f"aspp.branches.{_rate}.1",
    }
FOREIGN_KINDS = {"convolution": "conv", "normalization": "norm"}
TORCHVISION_KINDS = {"0": "conv", "1": "norm"}
TORCHVISION_ENDS = {"1": "refine.conv", "2": "refine.norm", "4": "classifier"}
TORCHVISIONS_POOL = "4"


class DeepLabV3(SegmentationHead):
    """Atrous spatial pyramid pooling and a classifier of its cells. Arguments and errors: see `SegmentationHead`."""

    CLASS_ROWS = r"classifier\.(weight|bias)"

    def __init__(self, config: DeepLabV3Config, specs: Mapping[str, FeatureSpec], *, num_classes: int) -> None:
        taps = {"tap": config.tap} if config.skip is None else {"tap": config.tap, "skip": config.skip}
        super().__init__(config, specs, taps=taps, num_classes=num_classes)
        spec = specs[config.tap]
        rates = config.atrous_rates or [rate // spec.stride for rate in RATES_AT_STRIDE_1]
        norm = Norm(config.bn_eps, config.bn_momentum)
        full = rates if config.aspp is Aspp.full else []
        self.aspp = ASPP(spec.channels, config.channels, full, norm, separable=config.separable)
        self.dropout = nn.Dropout(config.dropout)
        self.refine: nn.Module = nn.Identity()
        if config.refine:
            self.refine = ConvNormReLU(config.channels, config.channels, 3, norm=norm)
        self.skip = config.skip
        if config.skip is not None:
            fine = specs[config.skip].channels
            self.decoder = Decoder(
                fine, config.skip_channels, config.channels, norm, aligned_corners=config.aligned_corners
            )
        self.classifier = pixel_classifier(config.channels, num_classes)

    def forward(self, features: Features) -> Tensor:
        """Logits (N, K, h, w), as coarse as the tapped map (N, C, h, w), or as the finer one of `head.skip`."""
        projected = self.dropout(self.aspp(features[self.config.tap]))
        if self.skip is not None:
            projected = self.decoder(projected, features[self.skip])
        logits: Tensor = self.classifier(self.refine(projected))
        return logits

    def convert_state_dict(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Head of transformers' `MobileNetV2ForSemanticSegmentation`, a reduced one, or of torchvision's
        `deeplabv3_mobilenet_v3_large`, a full one that is refined (see `Head.convert_state_dict`).
        """
        found = {}
        for name, tensor in tensors.items():
            match name.split("."):
                case ["segmentation_head", "classifier", "convolution", tail]:
                    found[f"classifier.{tail}"] = tensor
                case ["segmentation_head", part, kind, tail] if part in FOREIGN and kind in FOREIGN_KINDS:
                    found[f"{FOREIGN[part]}.{FOREIGN_KINDS[kind]}.{tail}"] = tensor
                case ["classifier", "0", "convs", branch, kind, tail] if branch != TORCHVISIONS_POOL:
                    found[f"aspp.branches.{branch}.{TORCHVISION_KINDS[kind]}.{tail}"] = tensor
                case ["classifier", "0", "convs", _, kind, tail]:
                    found[f"aspp.pooled.{TORCHVISION_KINDS[str(int(kind) - 1)]}.{tail}"] = tensor
                case ["classifier", "0", "project", kind, tail]:
                    # Ours has the pooled values before the branches, theirs behind them.
                    ours = tensor.roll(self.config.channels, 1) if tensor.ndim == 4 else tensor
                    found[f"aspp.project.{TORCHVISION_KINDS[kind]}.{tail}"] = ours
                case ["classifier", part, tail] if part in TORCHVISION_ENDS:
                    found[f"{TORCHVISION_ENDS[part]}.{tail}"] = tensor
        return found
