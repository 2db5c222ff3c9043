"""The faster gradient against PyTorch's own."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from backbone.blocks import Conv2d
from backbone.dilated import dilated_depthwise


def plain(x: Tensor, weight: Tensor, dilation: int) -> Tensor:
    return F.conv2d(x, weight, None, 1, dilation, dilation, x.shape[1])


@pytest.mark.parametrize("dilation", [2, 4])
@pytest.mark.parametrize("size", [(1, 1), (3, 5), (8, 8), (9, 11)])
def test_output_to_the_bit_and_equal_gradients(size: tuple[int, int], dilation: int) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 6, *size, dtype=torch.float64).to(memory_format=torch.channels_last).requires_grad_()
    weight = torch.randn(6, 1, 3, 3, dtype=torch.float64, requires_grad=True)
    theirs, ours = plain(x, weight, dilation), dilated_depthwise(x, weight, dilation)
    assert torch.equal(theirs, ours)
    grad = torch.randn_like(theirs)
    expected = torch.autograd.grad(theirs, (x, weight), grad)
    torch.testing.assert_close(torch.autograd.grad(ours, (x, weight), grad), expected, rtol=1e-12, atol=1e-12)


def test_only_what_is_asked_for() -> None:
    x, weight = torch.randn(1, 4, 6, 6), torch.randn(4, 1, 3, 3, requires_grad=True)
    dilated_depthwise(x, weight, 2).sum().backward()
    assert x.grad is None
    assert weight.grad is not None
    frozen = weight.detach()
    x.requires_grad_()
    dilated_depthwise(x, frozen, 2).sum().backward()
    assert x.grad is not None
    assert frozen.grad is None


def test_in_half_precision() -> None:
    x, weight = torch.randn(1, 4, 6, 6, requires_grad=True), torch.randn(4, 1, 3, 3, requires_grad=True)
    results = []
    for convolve in (plain, dilated_depthwise):
        with torch.autocast("cpu", torch.bfloat16):
            y = convolve(x, weight, 2)
        assert y.dtype == torch.bfloat16
        results.append(torch.autograd.grad(y.float().square().sum(), (x, weight)))
    for theirs, ours in zip(*results, strict=True):
        assert theirs.dtype == ours.dtype == torch.float32
        torch.testing.assert_close(ours, theirs, rtol=0.03, atol=0.1)


def test_depthwise_layers_with_holes_take_it_when_they_learn() -> None:
    layer = Conv2d(4, 4, 3, dilation=2, groups=4)
    x = torch.randn(1, 4, 6, 6)
    name = type(layer(x).grad_fn).__name__
    assert name == "_DilatedDepthwiseBackward"
    for other in (Conv2d(4, 4, 3, groups=4), Conv2d(4, 4, 3, dilation=2)):
        assert type(other(x).grad_fn).__name__ == "ConvolutionBackward0"
    with torch.no_grad():
        assert layer(x).grad_fn is None
