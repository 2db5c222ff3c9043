"""Convolutions of segmentation heads."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from backbone.blocks import Conv2d, Norm

INITIAL_STD = 0.01


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

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int = 1, *, dilation: int = 1, groups: int = 1, norm: Norm
    ) -> None:
        super().__init__()
        self.conv = Conv2d(in_channels, out_channels, kernel, dilation=dilation, groups=groups)
        self.conv.initialise()
        self.norm = BatchNorm(out_channels, eps=norm.eps, momentum=norm.momentum)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.norm(self.conv(x)), inplace=True)


def pixel_classifier(in_channels: int, num_classes: int) -> nn.Conv2d:
    """Logits of every cell: a 1x1 convolution that starts near zero."""
    classifier = nn.Conv2d(in_channels, num_classes, 1)
    nn.init.trunc_normal_(classifier.weight, std=INITIAL_STD, a=-2 * INITIAL_STD, b=2 * INITIAL_STD)
    nn.init.constant_(classifier.get_parameter("bias"), 0)
    return classifier
