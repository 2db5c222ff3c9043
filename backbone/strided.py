"""Strided depthwise convolution whose gradient in bfloat16 takes no slow loop on a CPU.

Shapes: N images, C channels, H W cells, h w cells of the output, k the side of the filters.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.grad import conv2d_weight

from backbone.eager import records_gradient


def is_slow_in_bfloat16(x: Tensor) -> bool:
    """Whether a convolution of `x` would learn by oneDNN's slow loop: in bfloat16 on a CPU, by PyTorch as it is."""
    if x.device.type != "cpu" or not records_gradient(x):
        return False
    automatic = torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") is torch.bfloat16
    return automatic or x.dtype is torch.bfloat16


def strided_depthwise(x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    """`F.conv2d` with as many groups as channels, to the bit.

    Only the gradient of the input is computed in another way: as the convolution, without a stride, of the output's
    gradient with zeros between its cells, by filters turned by 180 degrees. In bfloat16 oneDNN takes four to forty
    times as long for it.

    Args:
        x: (N, C, H, W).
        weight: (C, 1, k, k).
        padding: zeros on each side, less than k.
    Returns:
        (N, C, h, w).
    """
    y: Tensor = _StridedDepthwise.apply(x, weight, stride, padding)
    return y


class _StridedDepthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        return F.conv2d(x, weight, None, stride, padding, 1, x.shape[1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        x, weight = ctx.saved_tensors
        stride, padding, channels = ctx.stride, ctx.padding, x.shape[1]
        grad_x = grad_weight = None
        if ctx.needs_input_grad[0]:
            height, width = x.shape[-2:]
            apart = torch.zeros_like(x, dtype=grad.dtype, memory_format=torch.channels_last)
            rows, columns = grad.shape[-2:]
            apart[:, :, : rows * stride : stride, : columns * stride : stride] = grad
            turned = weight.flip(2, 3).to(grad.dtype)
            border = weight.shape[-1] - 1 - padding
            grad_x = F.conv2d(apart, turned, None, 1, border, 1, channels)[:, :, :height, :width].to(x.dtype)
        if ctx.needs_input_grad[1]:
            grad_weight = conv2d_weight(  # type: ignore[no-untyped-call]
                x.to(grad.dtype), weight.shape, grad, stride, padding, groups=channels
            ).to(weight.dtype)
        return grad_x, grad_weight, None, None
