"""Loss and label maps of segmentation heads. Shapes: N images, K classes, h w cells of the logits, H W pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from backbone.errors import InputError
from heads.class_weights import MOST, initial_class_weights
from heads.distillation import soft_entropy
from heads.head import Head, Losses
from heads.segmentation.dice import dice_loss
from heads.segmentation.lovasz import lovasz_loss
from heads.segmentation.upsample import label_mask, matrix
from heads.structures import VOID, LabelMask, SegmentationTargets

if TYPE_CHECKING:
    from collections.abc import Mapping

    from backbone.features import FeatureSpec
    from heads.segmentation.config import SegmentationConfig


class SegmentationHead(Head[Tensor, SegmentationTargets, LabelMask]):
    """Head whose outputs are logits (N, K, h, w).

    Args:
        taps: the features that `forward` needs, by the option that names each.
        specs: what the backbone offers.
        num_classes: K, at most 255. Background is a class as any other where the data has one: 21 for VOC.
    Raises:
        InputError: a tap is not among `specs`, or `num_classes` or the number of class weights does not fit.
    """

    class_weights: Tensor

    def __init__(
        self, config: SegmentationConfig, specs: Mapping[str, FeatureSpec], *, taps: Mapping[str, str], num_classes: int
    ) -> None:
        super().__init__()
        for option, tap in taps.items():
            if tap not in specs:
                raise InputError(f"head.{option}={tap}: the backbone has no such feature; it has {', '.join(specs)}")
        if not 1 <= num_classes <= VOID:
            raise InputError(f"num_classes={num_classes}: must be 1 .. {VOID}; label {VOID} of a mask is ignored")
        weights = initial_class_weights(config.class_weights, num_classes)
        self.config = config
        self.taps = list(taps.values())
        self.register_buffer("class_weights", torch.tensor(weights), persistent=False)

    def loss(self, outputs: Tensor, targets: SegmentationTargets) -> Losses:
        """`pixel`: mean cross entropy over the pixels of the batch that are not ignored; zero if all are.

        With `head.dice` also `dice`, with `head.lovasz` also `lovasz`, each times that weight; see `dice_loss` and
        `lovasz_loss`.

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
            named = {"pixel": torch.stack(losses).sum() / torch.where(weight > 0, weight, 1)}
            if self.config.dice > 0:
                named["dice"] = self.config.dice * dice_loss(logits, masks, rows, columns)
            if self.config.lovasz > 0:
                named["lovasz"] = self.config.lovasz * lovasz_loss(logits, masks, rows, columns)
        return Losses(named, normalizer=weight)

    def weigh_classes(self, shares: Tensor) -> None:
        """Weights of the classes by the shares (K,) of the images' pixels that they have, where they occur.

        The median of the shares over that of a class (arXiv:1411.4734, section 4.3), between 0.1 and 10; a class that
        does not occur has 1.
        """
        weights = torch.ones_like(shares)
        occurs = shares > 0
        weights[occurs] = (shares[occurs].median() / shares[occurs]).clamp(1 / MOST, MOST)
        self.class_weights.copy_(weights)

    def distill(self, outputs: Tensor, teacher: Tensor) -> dict[str, Tensor]:
        """`pixel_distill`: mean divergence of the probabilities over the cells."""
        return {"pixel_distill": soft_entropy(outputs, teacher).mean()}

    def predict_both(self, outputs: Tensor, mirrored: Tensor, sizes: Tensor) -> list[LabelMask]:
        """Best class of every pixel by the mean of the two probabilities of every cell."""
        both = torch.stack([outputs.float(), mirrored.float().flip(-1)]).softmax(dim=2)
        return self.predict(both.mean(dim=0), sizes)

    def predict(self, outputs: Tensor, sizes: Tensor) -> list[LabelMask]:
        """Best class of every pixel of the original images, whose height and width `sizes` (N, 2) gives.

        One image after the other, and a large one in stripes: the scores of all its pixels never exist at once.
        """
        aligned = self.config.aligned_corners
        return [
            LabelMask(label_mask(logits, (height, width), aligned_corners=aligned))
            for logits, (height, width) in zip(outputs.float(), sizes.tolist(), strict=True)
        ]
