"""Atrous spatial pyramid pooling: several views of one feature, joined. Shapes: N images, C channels, H W cells.

Reference: DeepLabv3, arXiv:1706.05587, section 3.3; the reduced form is MobileNetV2's, arXiv:1801.04381, section 6.3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from heads.segmentation.blocks import ConvNormReLU

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backbone.blocks import Norm


class ASPP(nn.Module):
    """Mean of the whole image, every cell, and wide surroundings of every cell, projected to `channels`.

    Args:
        atrous_rates: of the 3x3 branches; none for the reduced form.
        separable: whether these are depthwise 3x3 and 1x1 convolutions.
    """

    def __init__(
        self, in_channels: int, channels: int, atrous_rates: Sequence[int], norm: Norm, *, separable: bool = False
    ) -> None:
        super().__init__()
        self.pooled = ConvNormReLU(in_channels, channels, norm=norm)
        self.branches = nn.ModuleList([ConvNormReLU(in_channels, channels, norm=norm)])
        for rate in atrous_rates:
            if separable:
                depthwise = ConvNormReLU(in_channels, in_channels, 3, dilation=rate, groups=in_channels, norm=norm)
                self.branches.append(nn.Sequential(depthwise, ConvNormReLU(in_channels, channels, norm=norm)))
            else:
                self.branches.append(ConvNormReLU(in_channels, channels, 3, dilation=rate, norm=norm))
        self.project = ConvNormReLU((1 + len(self.branches)) * channels, channels, norm=norm)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, channels, H, W) from (N, C, H, W)."""
        pooled = self.pooled(x.mean((2, 3), keepdim=True)).expand(-1, -1, *x.shape[-2:])
        joined: Tensor = self.project(torch.cat([pooled, *(branch(x) for branch in self.branches)], dim=1))
        return joined
