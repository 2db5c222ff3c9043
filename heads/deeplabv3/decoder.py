"""Decoder that joins a finer feature to the pyramid. Shapes: N images, C channels, h w coarse cells, H W fine cells.

Reference: DeepLabv3+, arXiv:1802.02611, sections 3.1 and 4.1: low-level features reduced to 48 channels, two 3x3
convolutions behind, here separable ones, as in its section 4.3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from heads.segmentation.blocks import ConvNormReLU

if TYPE_CHECKING:
    from backbone.blocks import Norm


class Decoder(nn.Module):
    """Projection of the pyramid and a finer feature, joined and refined.

    Args:
        in_channels: C of the finer feature.
        skip_channels: what it is reduced to.
        channels: of the projection and of what comes out.
        aligned_corners: whether the first and last cells of both lie on each other.
    """

    def __init__(
        self, in_channels: int, skip_channels: int, channels: int, norm: Norm, *, aligned_corners: bool
    ) -> None:
        super().__init__()
        self.aligned_corners = aligned_corners
        self.reduce = ConvNormReLU(in_channels, skip_channels, norm=norm)
        layers = []
        for before in (skip_channels + channels, channels):
            layers += [
                ConvNormReLU(before, before, 3, groups=before, norm=norm),
                ConvNormReLU(before, channels, norm=norm),
            ]
        self.refine = nn.Sequential(*layers)

    def forward(self, projected: Tensor, fine: Tensor) -> Tensor:
        """Map (N, channels, H, W) from the projection (N, channels, h, w) and the finer feature (N, C, H, W)."""
        size = fine.shape[-2:]
        if projected.shape[-2:] != size:
            projected = F.interpolate(projected, size, mode="bilinear", align_corners=self.aligned_corners)
        refined: Tensor = self.refine(torch.cat([projected, self.reduce(fine)], dim=1))
        return refined
