"""Our ReLU6 against PyTorch's: the same values and gradients, and less that is kept for the backward pass."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from backbone.blocks import ConvNormAct, Norm, ReLU6


def through(act: nn.Module, x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Output, and gradient of the input, of an activation behind a sum as it is in place behind a normalisation."""
    x = x.clone().requires_grad_()
    y = act(x + 0)
    (grad,) = torch.autograd.grad((y * weight).sum(), x)
    return y.detach(), grad


def test_values_and_gradients_are_those_of_pytorch() -> None:
    corners = torch.tensor([-1.0, -0.0, 0.0, 1e-30, 3.0, 6.0, 6.0000001, 7.0, float("inf"), -float("inf")])
    x = torch.cat([corners.double(), torch.randn(1000, dtype=torch.float64) * 5])
    weight = torch.randn_like(x)
    for found, wanted in zip(
        through(ReLU6(inplace=True), x, weight), through(nn.ReLU6(inplace=True), x, weight), strict=True
    ):
        assert torch.equal(found, wanted)


def test_nan_stays_nan() -> None:
    assert ReLU6(inplace=True)(torch.tensor([float("nan")], requires_grad=True) + 0).isnan().all()


def kept_bytes(model: nn.Module, x: Tensor) -> int:
    """Size of all that the backward pass keeps, each storage once."""
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        y = model(x)
    assert y.requires_grad
    return sum(kept.values())


def test_a_layer_keeps_two_maps_and_pytorch_three() -> None:
    layers = [ConvNormAct(8, 8, norm=Norm()) for _ in range(4)]
    x = torch.randn(2, 8, 64, 64)
    ours = kept_bytes(nn.Sequential(*layers), x)
    for layer in layers:
        layer.act = nn.ReLU6(inplace=True)
    theirs = kept_bytes(nn.Sequential(*layers), x)
    few = x.nbytes // 10  # weights and statistics
    assert abs(ours - 9 * x.nbytes) < few  # the input, and two of each layer
    assert abs(theirs - 12 * x.nbytes) < few  # the copies too, and not the last output
