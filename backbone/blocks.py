"""The two parts that a MobileNetV2 is made of: a convolution with its normalisation, and the inverted residual.

Shapes: N images, C channels, H W cells.
"""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING, NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from backbone.config import Padding
from backbone.dilated import dilated_depthwise, is_faster

if TYPE_CHECKING:
    from backbone.config import StagePlan


class Norm(NamedTuple):
    """Of every batch normalisation: epsilon, and momentum in PyTorch's convention (the share of the new batch)."""

    eps: float = 1e-3
    momentum: float = 0.03


class Conv2d(nn.Conv2d):
    """A convolution without bias whose output has ceil(H / stride) cells, under either padding rule.

    The rules differ only where it strides, and there only in which side gets the odd row.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int = 1,
        *,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
        padding: Padding = Padding.symmetric,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel, stride, 0, dilation, groups, bias=False)
        self.set_padding(padding)

    def set_padding(self, rule: Padding) -> None:
        self.pads_same = rule is Padding.tf_same and self.stride[0] > 1
        side = 0 if self.pads_same else (self.kernel_size[0] - 1) * self.dilation[0] // 2
        self.padding = (side, side)

    def initialise(self) -> None:
        """He's normal initialisation by the outputs that an input really reaches, which are few in a depthwise layer.

        PyTorch counts all channels there. Filters then start a hundred times too small, and as the normalisation hides
        their scale, the first steps turn them around at random: a training from scratch loses hundreds of steps.
        """
        reached = self.kernel_size[0] * self.kernel_size[1] * self.out_channels // self.groups
        nn.init.normal_(self.weight, std=sqrt(2 / reached))

    def forward(self, x: Tensor) -> Tensor:
        return self.convolve(x, self.weight)

    def convolve(self, x: Tensor, weight: Tensor) -> Tensor:
        """Apply `weight`, all filters of this layer or some of them."""
        groups = 1 if self.groups == 1 else weight.shape[0]
        if self.dilation[0] > 1 and groups == x.shape[1] and is_faster(x):
            return dilated_depthwise(x, weight, self.dilation[0])
        return F.conv2d(self.pad(x), weight, None, self.stride, self.padding, self.dilation, groups)

    def pad(self, x: Tensor) -> Tensor:
        """Zeros for TensorFlow's "same": as many as the last window needs, the odd one at the bottom and right."""
        if not self.pads_same:
            return x
        reach, stride = (self.kernel_size[0] - 1) * self.dilation[0], self.stride[0]
        height, width = (reach - (size - 1) % stride for size in x.shape[-2:])
        return F.pad(x, (width // 2, width - width // 2, height // 2, height - height // 2))


class ConvNormAct(nn.Module):
    """Convolution, batch normalisation and, unless `linear`, ReLU6."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int = 1,
        *,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
        padding: Padding = Padding.symmetric,
        norm: Norm,
        linear: bool = False,
    ) -> None:
        super().__init__()
        self.conv = Conv2d(
            in_channels, out_channels, kernel, stride=stride, dilation=dilation, groups=groups, padding=padding
        )
        self.norm = nn.BatchNorm2d(out_channels, eps=norm.eps, momentum=norm.momentum)
        self.act = nn.Identity() if linear else nn.ReLU6(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.act(self.norm(self.conv(x)))
        return y

    def part(self, x: Tensor, channels: slice) -> Tensor:
        """The same for some of the output channels, which depend on nothing that the others compute."""
        norm = self.norm
        assert norm.running_mean is not None
        assert norm.running_var is not None
        y = F.batch_norm(
            self.conv.convolve(x, self.conv.weight[channels]),
            norm.running_mean[channels],
            norm.running_var[channels],
            norm.weight[channels],
            norm.bias[channels],
            norm.training,
            norm.momentum or 0.0,
            norm.eps,
        )
        z: Tensor = self.act(y)
        return z


class InvertedResidual(nn.Module):
    """Expand, filter by depth, project; a shortcut joins the two narrow ends where they are alike.

    The projection is linear: a ReLU6 there would destroy what the few channels carry (section 3.2).

    Args:
        in_channels, out_channels: of the narrow ends.
        expansion: t; with t = 1 there is no expansion (first row of Table 2).
        shortcut: add the input to the output.
        split: ways to run over the expanded channels (section 5).

    Reference: MobileNetV2, arXiv:1801.04381, Table 1 and Figure 3.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        expansion: int,
        stride: int,
        dilation: int,
        shortcut: bool,
        padding: Padding,
        norm: Norm,
        split: int = 1,
    ) -> None:
        super().__init__()
        hidden = in_channels * expansion
        self.expand = ConvNormAct(in_channels, hidden, norm=norm) if expansion > 1 else nn.Identity()
        self.depthwise = ConvNormAct(
            hidden, hidden, 3, stride=stride, dilation=dilation, groups=hidden, padding=padding, norm=norm
        )
        self.project = ConvNormAct(hidden, out_channels, linear=True, norm=norm)
        self.shortcut = shortcut
        self.split = split if expansion > 1 else 1

    def forward(self, x: Tensor) -> Tensor:
        if self.split > 1:
            return self.add_shortcut(x, self.bottleneck_in_parts(x))
        return self.reduce(x, self.expand(x))

    def reduce(self, x: Tensor, expanded: Tensor) -> Tensor:
        """The second half: from the expansion of `x` to the block's output."""
        return self.add_shortcut(x, self.project(self.depthwise(expanded)))

    def add_shortcut(self, x: Tensor, y: Tensor) -> Tensor:
        return x + y if self.shortcut else y

    def bottleneck_in_parts(self, x: Tensor) -> Tensor:
        """F(x) = sum over i of (A_i . N . B_i)(x): only one part of the expanded map lives at a time (section 5).

        B_i expands to the i-th part of the channels, N filters them by depth, A_i projects them; the projection's
        normalisation follows the sum.
        """
        assert isinstance(self.expand, ConvNormAct)
        hidden = self.depthwise.conv.out_channels
        size = -(-hidden // self.split)
        total: Tensor | None = None
        for start in range(0, hidden, size):
            part = slice(start, start + size)
            filtered = self.depthwise.part(self.expand.part(x, part), part)
            projected = self.project.conv.convolve(filtered, self.project.conv.weight[:, part])
            total = projected if total is None else total.add_(projected)
        y: Tensor = self.project.norm(total)
        return y


def build_stage(plan: StagePlan, *, padding: Padding, norm: Norm, split: int) -> nn.Sequential:
    """A row of Table 2: one block that may stride and change the channels, then blocks with shortcuts."""
    blocks = []
    in_channels = plan.in_channels
    for index, (stride, dilation) in enumerate(zip(plan.strides, plan.dilations, strict=True)):
        keeps_resolution = index > 0 or plan.keeps_resolution
        blocks.append(
            InvertedResidual(
                in_channels,
                plan.channels,
                expansion=plan.expansion,
                stride=stride,
                dilation=dilation,
                shortcut=keeps_resolution and in_channels == plan.channels,
                padding=padding,
                norm=norm,
                split=split,
            )
        )
        in_channels = plan.channels
    return nn.Sequential(*blocks)
