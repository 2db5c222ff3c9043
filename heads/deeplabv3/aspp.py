"""Atrous spatial pyramid pooling: several views of one feature, joined. Shapes: N images, C channels, H W cells.

Reference: DeepLabv3, arXiv:1706.05587, section 3.3; the reduced form is MobileNetV2's, arXiv:1801.04381, section 6.3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from backbone.blocks import Conv2d, Norm

if TYPE_CHECKING:
    from collections.abc import Sequence


class BatchNorm(nn.BatchNorm2d):
    """Batch normalisation that also trains on one value per channel, which is what pooling leaves of a single image.

    One value is no batch: its deviation is zero, and PyTorch refuses it. It is normalised by the running statistics
    instead, as in evaluation, and leaves them as they are; gradients flow as through a frozen layer.
    """

    def forward(self, x: Tensor) -> Tensor:
        if self.training and x.numel() == x.shape[1]:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(x)


class ConvNormReLU(nn.Module):
    """Convolution, batch normalisation and ReLU, which here has no upper end."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int = 1, *, dilation: int = 1, norm: Norm) -> None:
        super().__init__()
        self.conv = Conv2d(in_channels, out_channels, kernel, dilation=dilation)
        self.conv.initialise()
        self.norm = BatchNorm(out_channels, eps=norm.eps, momentum=norm.momentum)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.norm(self.conv(x)), inplace=True)


class ASPP(nn.Module):
    """Mean of the whole image, every cell, and wide surroundings of every cell, projected to `channels`.

    Args:
        atrous_rates: of the 3x3 branches; none for the reduced form.
    """

    def __init__(self, in_channels: int, channels: int, atrous_rates: Sequence[int], norm: Norm) -> None:
        super().__init__()
        self.pooled = ConvNormReLU(in_channels, channels, norm=norm)
        self.branches = nn.ModuleList([ConvNormReLU(in_channels, channels, norm=norm)])
        for rate in atrous_rates:
            self.branches.append(ConvNormReLU(in_channels, channels, 3, dilation=rate, norm=norm))
        self.project = ConvNormReLU((1 + len(self.branches)) * channels, channels, norm=norm)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, channels, H, W) from (N, C, H, W)."""
        pooled = self.pooled(x.mean((2, 3), keepdim=True)).expand(-1, -1, *x.shape[-2:])
        joined: Tensor = self.project(torch.cat([pooled, *(branch(x) for branch in self.branches)], dim=1))
        return joined
