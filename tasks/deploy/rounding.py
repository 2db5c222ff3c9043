"""Weights on the 8-bit grid that the runtimes use, chosen so that layers answer as before.

Rounding each weight to its nearest step is not the best that 8 bits can do. Folded MobileNetV2 has depthwise filters
whose weights are large and nearly cancel each other: what is left of the errors shifts a whole channel. Here weights
are rounded one after the other, each taking up the errors of those before it as far as inputs go together, and the mean
error that remains goes into the bias, which is not rounded to 8 bits. Runtimes then find the weights on their grid.

Shapes: G groups, O output channels of a group, I inputs of an output channel (channels of the group, rows, columns),
P positions.

Reference: GPTQ, arXiv:2210.17323, for the update; Nagel et al., arXiv:1906.04721, section 4.2, for the bias.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from backbone.blocks import Conv2d
from tasks.deploy.folding import FoldedConv

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

SWISH_ZERO = -3.0
"""Hard swish is 0 for all that is below: 8 bits in front of it need not tell such values apart."""
LARGEST = 127
"""Largest value of signed 8 bits, -128 unused: the largest weight of every output channel is this many steps."""
DAMPING = 0.01
"""Added to the variances of the inputs, as a part of their mean: the less, the more the calibration is trusted."""
POSITIONS = 64
"""Along either side of a layer's output, at most so many positions are looked at, evenly spread."""


class Inputs:
    """First and second moments of what a layer multiplies its weights with.

    Attributes:
        mean: (G, I).
        square: mean of the products, (G, I, I).
    """

    def __init__(self, layer: nn.Module) -> None:
        self.layer = layer
        self.groups = 1 if isinstance(layer, nn.Linear) else int(layer.groups)  # type: ignore[arg-type]
        self.count = 0
        self.sum: Tensor | float = 0.0
        self.products: Tensor | float = 0.0

    def see(self, layer: nn.Module, given: tuple[Tensor, ...]) -> None:
        """A hook before the layer's forward."""
        columns = self._columns(given[0]).double()  # variances are small differences of large squares
        self.count += columns.shape[-1]
        self.sum = self.sum + columns.sum(-1)
        self.products = self.products + columns @ columns.mT

    @property
    def mean(self) -> Tensor:
        return torch.as_tensor(self.sum) / self.count

    @property
    def square(self) -> Tensor:
        return torch.as_tensor(self.products) / self.count

    def _columns(self, x: Tensor) -> Tensor:
        """What is multiplied with the weights at the positions, (G, I, P)."""
        layer = self.layer
        if isinstance(layer, nn.Linear):
            return x.reshape(1, -1, x.shape[-1]).mT
        assert isinstance(layer, FoldedConv | nn.Conv2d)
        if isinstance(layer, FoldedConv | Conv2d):
            x = layer.pad(x)
        padding = layer.padding
        assert not isinstance(padding, str)
        rows, columns = (
            step * -(-side // (step * POSITIONS)) for side, step in zip(x.shape[-2:], layer.stride, strict=True)
        )
        patches = F.unfold(x, layer.weight.shape[-2:], layer.dilation, padding, (rows, columns))  # (N, G x I, P)
        return patches.transpose(0, 1).reshape(self.groups, patches.shape[1] // self.groups, -1)


@torch.no_grad()
def round_weights(graph: nn.Module, images: Sequence[NDArray[np.uint8]]) -> None:
    """Move the weights of all layers onto the grid, in place.

    Args:
        graph: an `ExportGraph` with `integers`.
        images: views (H, W, 3) to take the inputs' moments from.
    """
    seen = {layer: Inputs(layer) for layer in graph.modules() if _is_known(layer)}
    hooks = [layer.register_forward_pre_hook(inputs.see) for layer, inputs in seen.items()]
    for image in images:
        graph(torch.from_numpy(image[None]))
    for hook in hooks:
        hook.remove()
    for layer, inputs in seen.items():
        if not inputs.count:
            continue  # a part that the graph does not reach
        bias: Tensor | None = layer.bias  # type: ignore[assignment]
        weight: Tensor = layer.weight  # type: ignore[assignment]
        before = weight.double().reshape(inputs.groups, -1, inputs.square.shape[-1])
        mean = inputs.mean
        spread = inputs.square if bias is None else inputs.square - mean[:, :, None] * mean[:, None, :]
        after = on_grid(before, spread)
        weight.copy_(after.reshape(weight.shape))
        if bias is not None:
            bias += ((before - after) @ mean[:, :, None]).flatten()


def _is_known(layer: nn.Module) -> bool:
    """Whether it is a layer that is looked at here. Weights of others are rounded by the runtime's tools."""
    if isinstance(layer, nn.Conv2d):
        return layer.padding_mode == "zeros" and not isinstance(layer.padding, str)
    return isinstance(layer, FoldedConv | nn.Linear)


def on_grid(weight: Tensor, spread: Tensor) -> Tensor:
    """Weights as whole steps, with the least error of the outputs.

    Args:
        weight: (G, O, I), float64. A step of an output channel is its largest weight / 127, and that stays.
        spread: the inputs' covariance (G, I, I), float64.
    """
    step = (weight.abs().amax(-1) / LARGEST).clamp_min(torch.finfo(torch.float32).tiny)
    largest = weight.abs().argmax(-1)
    variance = spread.diagonal(dim1=1, dim2=2)
    least = (DAMPING * variance.mean(-1, keepdim=True)).clamp_min(1e-12)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(spread + torch.diag_embed(least.expand_as(variance))))
    upper = torch.linalg.cholesky(inverse, upper=True)
    left, result = weight.clone(), torch.empty_like(weight)
    for place in range(weight.shape[-1]):
        nearest = (left[..., place] / step).round().clamp(-LARGEST, LARGEST) * step
        result[..., place] = torch.where(largest == place, weight[..., place], nearest)
        error = (left[..., place] - result[..., place]) / upper[:, None, place, place]
        left[..., place + 1 :] -= error[..., None] * upper[:, None, place, place + 1 :]
    return result
