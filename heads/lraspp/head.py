"""Lite R-ASPP. Shapes: N images, C channels, F filters, K classes, h w cells of the coarse map, H W of the finer one.

Reference: MobileNetV3, arXiv:1905.02244, section 6.4 and Figure 10.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch.nn.functional as F
from torch import Tensor, nn

from backbone.blocks import Norm
from heads.lraspp.config import Gate, LRASPPConfig, Pool
from heads.segmentation.blocks import ConvNormReLU, pixel_classifier
from heads.segmentation.head import SegmentationHead

if TYPE_CHECKING:
    from collections.abc import Mapping

    from backbone.features import Features, FeatureSpec

WINDOW = 768
"""Pixels between the first and last cell of a pooling window: the reference trains on crops of 769."""
STEPS = {8: (32, 40), 16: (16, 20), 32: (4, 5)}
"""Cells from one window to the next, down and across, by the stride of the map. The reference has 16 and 32."""
FOREIGN = {
    "cbr.0": "project.conv",
    "cbr.1": "project.norm",
    "scale.1": "squeeze",
    "low_classifier": "low_classifier",
    "high_classifier": "classifier",
}


class LRASPP(SegmentationHead):
    """A gated projection of a coarse map, classified on a finer one. Arguments and errors: see `SegmentationHead`."""

    CLASS_ROWS = r"(low_)?classifier\.(weight|bias)"

    def __init__(self, config: LRASPPConfig, specs: Mapping[str, FeatureSpec], *, num_classes: int) -> None:
        taps = {"tap": config.tap, "low_tap": config.low_tap}
        super().__init__(config, specs, taps=taps, num_classes=num_classes)
        self.pool, self.low_tap = config.pool, config.low_tap
        spec = specs[config.tap]
        self.window = WINDOW // spec.stride + 1
        self.steps = STEPS.get(spec.stride, STEPS[16])
        self.project = ConvNormReLU(spec.channels, config.channels, norm=Norm(config.bn_eps, config.bn_momentum))
        self.squeeze = nn.Conv2d(spec.channels, config.channels, 1, bias=config.gate_bias)
        self.gate = nn.Hardsigmoid() if config.gate is Gate.hard_sigmoid else nn.Sigmoid()
        self.low_classifier = pixel_classifier(specs[config.low_tap].channels, num_classes)
        self.classifier = pixel_classifier(config.channels, num_classes)

    def forward(self, features: Features) -> Tensor:
        """Logits (N, K, H, W), as fine as the low tap (N, C', H, W), from it and the tapped map (N, C, h, w)."""
        high, low = features[self.config.tap], features[self.low_tap]
        projected = self.project(high)
        gate = self._resize(self.gate(self.squeeze(self._pooled(high))), projected)
        logits: Tensor = self.low_classifier(low) + self.classifier(self._resize(projected * gate, low))
        return logits

    def _pooled(self, x: Tensor) -> Tensor:
        """Means over windows, none larger than the map."""
        height, width = x.shape[-2:]
        if self.pool is Pool.whole or (height <= self.window and width <= self.window):
            return x.mean((2, 3), keepdim=True)
        return F.avg_pool2d(x, (min(self.window, height), min(self.window, width)), self.steps)

    def _resize(self, x: Tensor, to: Tensor) -> Tensor:
        size = to.shape[-2:]
        if x.shape[-2:] in (size, (1, 1)):  # one cell is the same everywhere
            return x
        return F.interpolate(x, size, mode="bilinear", align_corners=self.config.aligned_corners)

    def convert_state_dict(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Head of torchvision's `lraspp_mobilenet_v3_large` (see `Head.convert_state_dict`)."""
        found = {}
        for name, tensor in tensors.items():
            module, _, tail = name.removeprefix("classifier.").rpartition(".")
            if name.startswith("classifier.") and module in FOREIGN:
                found[f"{FOREIGN[module]}.{tail}"] = tensor
        return found
