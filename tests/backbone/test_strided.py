"""Strided depthwise convolution with a gradient of ours against PyTorch's."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from backbone.architecture import Padding
from backbone.blocks import Conv2d
from backbone.strided import is_slow_in_bfloat16, strided_depthwise


@pytest.mark.parametrize("size", [(9, 9), (8, 11), (1, 2), (7, 3)])
@pytest.mark.parametrize(("kernel", "padding"), [(3, 1), (5, 2), (3, 0), (5, 0)])
@pytest.mark.parametrize("stride", [2, 3])
def test_gradients_are_those_of_pytorch(size: tuple[int, int], kernel: int, padding: int, stride: int) -> None:
    if min(size) + 2 * padding < kernel:
        pytest.skip("no window fits")
    x = torch.randn(2, 6, *size, dtype=torch.float64).to(memory_format=torch.channels_last).requires_grad_()
    weight = torch.randn(6, 1, kernel, kernel, dtype=torch.float64, requires_grad=True)
    ours = strided_depthwise(x, weight, stride, padding)
    theirs = F.conv2d(x, weight, None, stride, padding, 1, 6)
    assert torch.equal(ours, theirs)
    grad = torch.randn_like(theirs)
    for found, wanted in zip(
        torch.autograd.grad(ours, [x, weight], grad), torch.autograd.grad(theirs, [x, weight], grad), strict=True
    ):
        torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("padding", list(Padding))
def test_a_layer_under_autocast_learns_as_pytorch_does(padding: Padding) -> None:
    layer = Conv2d(8, 8, 3, stride=2, groups=8, padding=padding)
    x = torch.randn(2, 8, 12, 12).to(memory_format=torch.channels_last).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        assert is_slow_in_bfloat16(x)
        ours = layer(x)
        theirs = F.conv2d(layer.pad(x), layer.weight, None, 2, layer.padding, 1, 8)
    assert ours.dtype is torch.bfloat16
    assert torch.equal(ours, theirs)
    grad = torch.randn_like(theirs)
    for found, wanted in zip(
        torch.autograd.grad(ours, [x, layer.weight], grad),
        torch.autograd.grad(theirs, [x, layer.weight], grad),
        strict=True,
    ):
        assert found.dtype is torch.float32
        torch.testing.assert_close(found, wanted, rtol=2e-2, atol=2e-2)


def test_only_bfloat16_takes_this_way() -> None:
    assert not is_slow_in_bfloat16(torch.zeros(1, requires_grad=True))
    assert not is_slow_in_bfloat16(torch.zeros(1, dtype=torch.bfloat16))
