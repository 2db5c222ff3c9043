"""Mobile DeepLabv3. Shapes: N images, C channels, K classes, h w cells of the logits, H W pixels.

Reference: MobileNetV2, arXiv:1801.04381, section 6.3; DeepLabv3, arXiv:1706.05587, section 3.3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from backbone.blocks import Norm
from backbone.errors import InputError
from heads.deeplabv3.aspp import ASPP
from heads.deeplabv3.config import Aspp, DeepLabV3Config
from heads.deeplabv3.upsample import label_mask, matrix
from heads.head import Head, Losses
from heads.structures import VOID, LabelMask, SegmentationTargets

if TYPE_CHECKING:
    from collections.abc import Mapping

    from backbone.features import Features, FeatureSpec

RATES_AT_STRIDE_1 = (96, 192, 288)
"""Atrous rates in pixels: 6, 12 and 18 cells at stride 16."""
INITIAL_STD = 0.01
FOREIGN = {"conv_pool": "aspp.pooled", "conv_aspp": "aspp.branches.0", "conv_projection": "aspp.project"}
FOREIGN_KINDS = {"convolution": "conv", "normalization": "norm"}


class DeepLabV3(Head[Tensor, SegmentationTargets, LabelMask]):
    """Segmentation head.

    Args:
        specs: what the backbone offers.
        num_classes: K, at most 255. Background is a class as any other where the data has one: 21 for VOC.
    Raises:
        InputError: the tap is not among `specs`, or `num_classes` or the number of class weights does not fit.
    """

    class_weights: Tensor

    def __init__(self, config: DeepLabV3Config, specs: Mapping[str, FeatureSpec], *, num_classes: int) -> None:
        super().__init__()
        if config.tap not in specs:
            raise InputError(f"head.tap={config.tap}: the backbone has no such feature; it has {', '.join(specs)}")
        if not 1 <= num_classes <= VOID:
            raise InputError(f"num_classes={num_classes}: must be 1 .. {VOID}; label {VOID} of a mask is ignored")
        weights = [1.0] * num_classes if config.class_weights is None else list(config.class_weights)
        if len(weights) != num_classes:
            raise InputError(f"head.class_weights={weights}: must be {num_classes} numbers, one for each class")
        self.config = config
        self.taps = [config.tap]
        spec = specs[config.tap]
        rates = [rate // spec.stride for rate in RATES_AT_STRIDE_1] if config.aspp is Aspp.full else []
        self.aspp = ASPP(spec.channels, config.channels, rates, Norm(config.bn_eps, config.bn_momentum))
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Conv2d(config.channels, num_classes, 1)
        nn.init.trunc_normal_(self.classifier.weight, std=INITIAL_STD, a=-2 * INITIAL_STD, b=2 * INITIAL_STD)
        nn.init.constant_(self.classifier.get_parameter("bias"), 0)
        self.register_buffer("class_weights", torch.tensor(weights), persistent=False)

    def forward(self, features: Features) -> Tensor:
        """Logits (N, K, h, w), as coarse as the tapped map (N, C, h, w)."""
        logits: Tensor = self.classifier(self.dropout(self.aspp(features[self.config.tap])))
        return logits

    def loss(self, outputs: Tensor, targets: SegmentationTargets) -> Losses:
        """`pixel`: mean cross entropy over the pixels of the batch that are not ignored; zero if all are.

        Logits are interpolated to the masks image by image, by matrix products: on a CPU several times faster than
        interpolating the batch, and deterministic on every device.
        """
        with torch.autocast(outputs.device.type, enabled=False):
            logits, masks, class_weights = outputs.float(), targets.masks, self.class_weights.float()
            rows, columns = (
                matrix(cells, pixels, aligned_corners=self.config.aligned_corners, device=logits.device)
                for cells, pixels in zip(logits.shape[-2:], masks.shape[-2:], strict=True)
            )
            losses = [
                # Summed outside: CUDA's own sum of this loss is not deterministic.
                F.cross_entropy(
                    (rows @ image @ columns.T)[None],
                    mask[None].long(),
                    class_weights,
                    ignore_index=VOID,
                    reduction="none",
                ).sum()
                for image, mask in zip(logits, masks, strict=True)
            ]
            counts = torch.bincount(masks.flatten(), minlength=VOID + 1)[: len(class_weights)]
            weight = counts.float() @ class_weights
        return Losses({"pixel": torch.stack(losses).sum() / torch.where(weight > 0, weight, 1)}, normalizer=weight)

    def predict(self, outputs: Tensor, sizes: Tensor) -> list[LabelMask]:
        """Best class of every pixel of the original images, whose height and width `sizes` (N, 2) gives.

        One image after the other, and a large one in stripes: the scores of all its pixels never exist at once.
        """
        aligned = self.config.aligned_corners
        return [
            LabelMask(label_mask(logits, (height, width), aligned_corners=aligned))
            for logits, (height, width) in zip(outputs.float(), sizes.tolist(), strict=True)
        ]

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
