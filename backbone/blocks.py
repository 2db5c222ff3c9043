"""The parts that a MobileNet is made of: a convolution with its normalisation, and the block.

Shapes: N images, C channels, H W cells.
"""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from backbone.architecture import Padding, Shortcut
from backbone.dilated import dilated_depthwise, is_faster
from backbone.eager import records_gradient
from backbone.features import Activation
from backbone.strided import is_slow_in_bfloat16, strided_depthwise

if TYPE_CHECKING:
    from backbone.architecture import BlockSpec


class Norm(NamedTuple):
    """Epsilon of a batch normalisation, and its momentum as in PyTorch: the share of the new batch."""

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
        x = self.pad(x)
        if self.stride[0] > 1 and groups == x.shape[1] and is_slow_in_bfloat16(x):
            return strided_depthwise(x, weight, self.stride[0], int(self.padding[0]))
        return F.conv2d(x, weight, None, self.stride, self.padding, self.dilation, groups)

    def pad(self, x: Tensor) -> Tensor:
        """Zeros for TensorFlow's "same": as many as the last window needs, the odd one at the bottom and right."""
        if not self.pads_same:
            return x
        reach, stride = (self.kernel_size[0] - 1) * self.dilation[0], self.stride[0]
        height, width = (reach - (size - 1) % stride for size in x.shape[-2:])
        return F.pad(x, (width // 2, width - width // 2, height // 2, height - height // 2))


class ReLU6(nn.ReLU6):
    """PyTorch's, to the bit, that keeps its output for the gradient instead of a copy of its input.

    The convolution behind it keeps the same tensor: a layer keeps two maps instead of three, and copies none.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not (self.inplace and records_gradient(x)):
            return super().forward(x)
        y: Tensor = _ReLU6InPlace.apply(x)
        return y


class _ReLU6InPlace(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        y = x.clamp_(0, 6)
        ctx.mark_dirty(y)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (y,) = ctx.saved_tensors
        before: Tensor = torch.ops.aten.hardtanh_backward(grad, y, 0.0, 6.0)
        return before


ACTIVATIONS: dict[Activation, type[nn.ReLU | nn.ReLU6 | nn.Hardswish]] = {
    Activation.relu: nn.ReLU,
    Activation.relu6: ReLU6,
    Activation.hardswish: nn.Hardswish,
}


class ConvNormAct(nn.Module):
    """Convolution, batch normalisation and activation; with None for it, the layer is linear."""

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
        activation: Activation | None = Activation.relu6,
    ) -> None:
        super().__init__()
        self.conv = Conv2d(
            in_channels, out_channels, kernel, stride=stride, dilation=dilation, groups=groups, padding=padding
        )
        self.norm = nn.BatchNorm2d(out_channels, eps=norm.eps, momentum=norm.momentum)
        self.act = nn.Identity() if activation is None else ACTIVATIONS[activation](inplace=True)

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


class SqueezeExcitation(nn.Module):
    """Weights every channel by a number between 0 and 1 that follows from the means of all channels.

    The gate is a hard sigmoid, and the activation inside ReLU whatever the block's. Reference: MobileNetV3,
    arXiv:1905.02244, section 5.3.
    """

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, inner, 1)
        self.act = nn.ReLU(inplace=True)
        self.expand = nn.Conv2d(inner, channels, 1)
        self.gate = nn.Hardsigmoid(inplace=True)
        for conv in (self.reduce, self.expand):
            nn.init.normal_(conv.weight, std=sqrt(2 / conv.out_channels))
            nn.init.zeros_(conv.get_parameter("bias"))

    def forward(self, x: Tensor) -> Tensor:
        weights: Tensor = self.gate(self.expand(self.act(self.reduce(x.mean((2, 3), keepdim=True)))))
        return x * weights


def _depthwise(channels: int, side: int | None, **options: Any) -> nn.Module:
    """A depthwise convolution with filters of a side; None: nothing."""
    return nn.Identity() if side is None else ConvNormAct(channels, channels, side, groups=channels, **options)


class Block(nn.Module):
    """Expand, filter by depth, weight the channels, project; a shortcut joins the two ends where they are alike.

    The projection of an inverted residual is linear: a ReLU6 there would destroy what the few channels carry
    (MobileNetV2, arXiv:1801.04381, section 3.2). Without an expansion it is V1's separable convolution.

    Args:
        before: the block before it.
        split: ways to run over the expanded channels (MobileNetV2, section 5). A block with squeeze-and-excitation runs
            whole: a channel's weight needs all of them.
        until: `expand` or `depthwise`: the last part that is built, because nothing behind it is computed; empty: all.
    """

    def __init__(
        self,
        spec: BlockSpec,
        in_channels: int,
        *,
        before: BlockSpec | None = None,
        padding: Padding,
        norm: Norm,
        split: int = 1,
        until: str = "",
    ) -> None:
        super().__init__()
        hidden = spec.expanded or in_channels
        self.keeps_expansion = spec.shortcut is Shortcut.expansion and spec.expanded is not None
        self.adds_expansion = (
            self.keeps_expansion and before is not None and (before.stride, before.expanded) == (1, spec.expanded)
        )
        alike = spec.stride == 1 and in_channels == spec.channels
        self.shortcut = spec.shortcut is Shortcut.bottleneck and alike and not until
        in_parts = (
            spec.kernel is not None
            and spec.expanded is not None
            and spec.squeeze is None
            and spec.separable
            and not self.keeps_expansion
        )
        self.split = split if in_parts else 1
        filters: dict[str, Any] = {"padding": padding, "norm": norm}
        at_start = {"stride": spec.stride, "dilation": spec.dilation} if spec.kernel is None else {}
        self.start = _depthwise(in_channels, spec.start, **at_start, **filters, activation=None)
        self.expand = (
            nn.Identity()
            if spec.expanded is None
            else ConvNormAct(in_channels, hidden, activation=spec.activation, norm=norm)
        )
        if until == "expand":
            return
        spatial: dict[str, Any] = {"stride": spec.stride, "dilation": spec.dilation, **filters}
        side = spec.kernel if spec.separable else None
        self.depthwise = _depthwise(hidden, side, **spatial, activation=spec.activation)
        if until == "depthwise":
            return
        self.squeeze = nn.Identity() if spec.squeeze is None else SqueezeExcitation(hidden, spec.squeeze)
        full: dict[str, Any] = {} if spec.separable else {"kernel": spec.kernel, **spatial}
        activation = None if spec.linear else spec.activation
        self.project = ConvNormAct(hidden, spec.channels, **{"norm": norm, **full}, activation=activation)

    def forward(self, x: Tensor) -> Tensor:
        if self.split > 1:
            return self.add_shortcut(x, self.bottleneck_in_parts(x))
        return self.reduce(x, self.depthwise(self.widen(x)))

    def widen(self, x: Tensor) -> Tensor:
        """The beginning of the block, up to the expansion."""
        y: Tensor = self.expand(self.start(x))
        return y

    def reduce(self, x: Tensor, filtered: Tensor) -> Tensor:
        """The end of the block: from the depthwise convolution's output for `x` to the block's output."""
        return self.add_shortcut(x, self.project(self.squeeze(filtered)))

    def add_shortcut(self, x: Tensor, y: Tensor) -> Tensor:
        return x + y if self.shortcut else y

    def bottleneck_in_parts(self, x: Tensor) -> Tensor:
        """F(x) = sum over i of (A_i . N . B_i)(x): only one part of the expanded map lives at a time (section 5).

        B_i expands to the i-th part of the channels, N filters them by depth, A_i projects them; the projection's
        normalisation follows the sum.
        """
        assert isinstance(self.expand, ConvNormAct)
        assert isinstance(self.depthwise, ConvNormAct)
        hidden = self.depthwise.conv.out_channels
        size = -(-hidden // self.split)
        total: Tensor | None = None
        x = self.start(x)
        for first in range(0, hidden, size):
            part = slice(first, first + size)
            filtered = self.depthwise.part(self.expand.part(x, part), part)
            projected = self.project.conv.convolve(filtered, self.project.conv.weight[:, part])
            total = projected if total is None else total.add_(projected)
        y: Tensor = self.project.act(self.project.norm(total))
        return y
