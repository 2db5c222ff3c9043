"""Weights on the grid. PyTorch's convolutions and its own fake quantisation are the oracle, and arithmetic by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from backbone.architecture import Padding
from backbone.blocks import ConvNormAct, Norm
from tasks.deploy.folding import FoldedConv
from tasks.deploy.graph import ExportGraph
from tasks.deploy.rounding import Inputs, on_grid, round_weights
from tests.commands.predict.models import predictor
from tests.data.builders import picture


def folded(**how: object) -> FoldedConv:
    layer = ConvNormAct(8, 8, 3, norm=Norm(), activation=None, **how).eval()  # type: ignore[arg-type]
    nn.init.uniform_(layer.norm.bias, -1, 1)
    return FoldedConv(layer.conv, layer.norm)


LAYERS = {
    "folded": lambda: folded(stride=2, padding=Padding.tf_same),
    "depthwise": lambda: folded(groups=8, dilation=2),
    "grouped": lambda: nn.Conv2d(8, 6, 3, padding=1, groups=2),
    "pointwise": lambda: nn.Conv2d(8, 5, 1),
}


def outputs(layer: nn.Module, x: Tensor) -> Tensor:
    """Without the bias, (channels, positions)."""
    bias = layer.bias
    assert isinstance(bias, Tensor)
    return (layer(x) - bias[:, None, None]).detach().transpose(0, 1).flatten(1)


@pytest.mark.parametrize("kind", LAYERS)
def test_moments_are_those_of_what_a_layer_multiplies(kind: str) -> None:
    torch.manual_seed(0)
    layer = LAYERS[kind]()
    inputs, x = Inputs(layer), torch.rand(2, 8, 13, 13)
    inputs.see(layer, (x[:1],))
    inputs.see(layer, (x[1:],))
    weight: Tensor = layer.weight  # type: ignore[assignment]
    rows = weight.detach().double().reshape(inputs.groups, -1, inputs.mean.shape[-1])
    found = outputs(layer, x).double()
    mean = (rows @ inputs.mean[:, :, None]).flatten()
    square = torch.einsum("goi,gij,goj->go", rows, inputs.square, rows).flatten()
    torch.testing.assert_close(mean, found.mean(1), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(square, found.square().mean(1), atol=1e-5, rtol=1e-4)


def test_moments_of_a_linear_layer() -> None:
    layer = nn.Linear(3, 2)
    inputs, x = Inputs(layer), torch.rand(5, 3)
    inputs.see(layer, (x,))
    torch.testing.assert_close(inputs.mean[0].float(), x.mean(0))
    torch.testing.assert_close(inputs.square[0].float(), x.T @ x / 5)


def test_of_a_large_map_every_so_many_positions() -> None:
    layer = nn.Conv2d(1, 1, 1)
    inputs = Inputs(layer)
    inputs.see(layer, (torch.rand(1, 1, 130, 64),))
    assert inputs.count == 44 * 64  # every third row


def test_inputs_that_go_their_own_ways_are_rounded_to_the_nearest() -> None:
    weight = torch.tensor([[[127.0, -3.4, 2.6, 0.2], [0.0, 0.0, 0.0, 0.0]]]).double()
    assert on_grid(weight, torch.eye(4)[None].double()).tolist() == [[[127, -3, 3, 0], [0, 0, 0, 0]]]


def test_errors_of_inputs_that_go_together_cancel() -> None:
    weight = torch.tensor([[[10.4, 10.4, 10.4, 10.4, 10.4, -127.0]]]).double()
    spread = torch.ones(1, 6, 6).double()
    rounded = on_grid(weight, spread)
    assert weight.sum().item() == pytest.approx(-75)
    assert rounded.sum().item() == pytest.approx(-75)  # to the nearest: -77
    assert rounded[..., -1].item() == -127


def test_the_error_is_less_than_that_of_the_nearest() -> None:
    torch.manual_seed(0)
    weight, root = torch.randn(4, 3, 9).double(), torch.rand(4, 9, 9).double()
    spread = root @ root.mT
    step = weight.abs().amax(-1, keepdim=True) / 127
    error = [
        torch.einsum("goi,gij,goj->", weight - found, spread, weight - found).item()
        for found in (on_grid(weight, spread), (weight / step).round() * step)
    ]
    assert error[0] < 0.7 * error[1]


@pytest.mark.parametrize("kind", LAYERS)
def test_the_mean_stays_and_weights_are_on_pytorchs_grid(kind: str) -> None:
    torch.manual_seed(0)

    class Graph(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = LAYERS[kind]()

        def forward(self, image: Tensor) -> Tensor:
            x = image.permute(0, 3, 1, 2).float() / 255
            out: Tensor = self.layer(F.pad(x, (0, 0, 0, 0, 0, 5), value=0.3))
            return out

    graph, images = Graph(), [picture(13, 11, n) for n in range(3)]
    batch = torch.from_numpy(np.stack(images))
    with torch.no_grad():
        before = graph(batch)
        round_weights(graph, images)
        after = graph(batch)
    torch.testing.assert_close(after.mean((0, 2, 3)), before.mean((0, 2, 3)), atol=1e-5, rtol=1e-4)
    assert (after - before).abs().max() < 0.05 * before.std()
    weight = graph.layer.weight.detach()
    scale = weight.abs().flatten(1).amax(1) / 127
    theirs = torch.fake_quantize_per_channel_affine(weight, scale, torch.zeros(len(scale)).int(), 0, -127, 127)
    torch.testing.assert_close(theirs, weight, atol=1e-6, rtol=1e-5)


def test_one_image_with_fewer_positions_than_inputs_and_hardly_any_change() -> None:
    layer, level = nn.Conv2d(40, 3, 1), torch.linspace(1, 6, 40)[None, :, None, None]
    inputs = Inputs(layer)
    inputs.see(layer, (level + 1e-5 * torch.rand(1, 40, 2, 2),))
    spread = inputs.square - inputs.mean[:, :, None] * inputs.mean[:, None, :]
    assert on_grid(layer.weight.detach().double().view(1, 3, 40), spread).isfinite().all()


def test_a_filter_whose_weights_cancel_keeps_what_is_left() -> None:
    """The case that costs points: a filter that looks at edges, on an input that hardly changes."""
    layer = nn.Conv2d(1, 1, 3, bias=True)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0, 2.3, 1.3], [2.3, -14.4, 2.3], [1.3, 2.3, 1.7]]) / 3)
        layer.get_parameter("bias").zero_()
    image = np.full((9, 9, 1), 200, np.uint8)
    image[4, 4] = 203

    class Graph(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, image: Tensor) -> Tensor:
            out: Tensor = self.layer(image.permute(0, 3, 1, 2).float())
            return out

    graph = Graph()
    given = torch.from_numpy(image)[None]
    with torch.no_grad():
        before = graph(given)
        round_weights(graph, [image])
        assert (graph(given) - before).abs().max() < 0.05


def test_models_with_all_heads_and_layers_that_are_left_alone() -> None:
    graph = ExportGraph(predictor("classification", "detection", "segmentation").model, 64, integers=True)
    graph.odd = nn.Conv2d(1, 1, 3, padding="same")
    kept = graph.odd.weight.clone()
    graph.unreached = nn.Linear(2, 2)
    images = [picture(64, 64, n) for n in range(2)]
    with torch.no_grad():
        before = graph(torch.from_numpy(images[0])[None])
        round_weights(graph, images)
        after = graph(torch.from_numpy(images[0])[None])
    for ours, theirs in zip(after, before, strict=True):
        assert ours.isfinite().all()
        assert (ours - theirs).abs().max() <= 0.05 * theirs.abs().max()
    assert torch.equal(graph.odd.weight, kept)
