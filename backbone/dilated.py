"""Dilated depthwise convolution whose gradient is as fast on a CPU as that of an undilated one.

Shapes: N images, C channels, H W cells, k the side of the filters, d dilation.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.grad import conv2d_weight


def is_faster(x: Tensor) -> bool:
    """Whether `dilated_depthwise` is worth its while: a gradient is wanted, on a CPU, by PyTorch as it is."""
    return (
        torch.is_grad_enabled()
        and x.device.type == "cpu"
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()  # type: ignore[attr-defined,no-untyped-call]
    )


def dilated_depthwise(x: Tensor, weight: Tensor, dilation: int) -> Tensor:
    """`F.conv2d` with as many groups as channels, a stride of one and padding that keeps the size, to the bit.

    Only the gradient is computed in another way. oneDNN has fast kernels for the backward pass of undilated depthwise
    convolutions alone, and a loop about five times slower for the others. But the gradient of the input is a
    convolution of that kind forwards, with the filters turned by 180 degrees; and cells of the map meet a dilated
    filter only where their rows and columns agree modulo d, so that the gradient of the filters is the sum over the
    d x d maps of every d-th row and column, each of which sees an undilated filter.

    Args:
        x: (N, C, H, W).
        weight: (C, 1, k, k), k odd.
    Returns:
        (N, C, H, W).
    """
    y: Tensor = _DilatedDepthwise.apply(x, weight, dilation)
    return y


class _DilatedDepthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, dilation: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.dilation = dilation
        return F.conv2d(x, weight, None, 1, weight.shape[-1] // 2 * dilation, dilation, x.shape[1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, weight = ctx.saved_tensors
        d, channels, reach = ctx.dilation, x.shape[1], weight.shape[-1] // 2
        grad_x = grad_weight = None
        if ctx.needs_input_grad[0]:
            turned = weight.flip(2, 3).to(grad.dtype)
            grad_x = F.conv2d(grad, turned, None, 1, reach * d, d, channels).to(x.dtype)
        if ctx.needs_input_grad[1]:
            grad_weight = torch.zeros_like(weight)
            for row, column in product(range(min(d, x.shape[2])), range(min(d, x.shape[3]))):
                there, then = (
                    part[:, :, row::d, column::d].contiguous(memory_format=torch.channels_last)
                    for part in (x.to(grad.dtype), grad)
                )
                grad_weight += conv2d_weight(  # type: ignore[no-untyped-call]
                    there, weight.shape, then, padding=reach, groups=channels
                )
        return grad_x, grad_weight, None
