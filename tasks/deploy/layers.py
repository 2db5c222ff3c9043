"""Where a file in 8 bits loses what its fp32 twin has: the signal-to-noise ratio of what every layer gives out.

A layer is a convolution or a matrix product with the activation behind it. Both files see the same images, so the noise
of a layer holds that of all layers before it: a fall from one layer to the next is what the next one adds.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import nn

from backbone.errors import InputError
from tasks.deploy.folding import FoldedConv

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from tasks.deploy.graph import ExportGraph

    Outputs = Mapping[str, NDArray[Any]]


class Probe(Protocol):
    """The module of a format whose files can be looked into."""

    def layer_outputs(
        self, content: bytes, names: Sequence[str], images: Sequence[NDArray[np.uint8]]
    ) -> Iterator[Outputs]:
        """For each image, what the layers of a file give out as floating point numbers, by their names.

        Args:
            content: a file in fp32 or in 8 bits.
            names: as `layer_names` gives them.
            images: views (H, W, 3).
        """
        ...


class LayerLoss(NamedTuple):
    """Loss of one layer.

    Attributes:
        decibels: 20 log10(norm of the fp32 values / norm of the difference), over all images; infinite where there is
            no difference.
    """

    name: str
    decibels: float


def layer_names(graph: ExportGraph) -> list[str]:
    """Names of the layers in the order in which an image meets them, each as often as it is called."""
    names: list[str] = []
    hooks = [
        module.register_forward_hook(lambda *_, name=name: names.append(name))
        for name, module in graph.model.named_modules()
        if isinstance(module, FoldedConv | nn.Conv2d | nn.Linear)
    ]
    with torch.no_grad():
        graph(graph.example())
    for hook in hooks:
        hook.remove()
    return names


def layer_losses(
    tools: Probe, plain: bytes, rounded: bytes, names: Sequence[str], images: Sequence[NDArray[np.uint8]]
) -> list[LayerLoss]:
    """Compare two files of one model layer by layer, in the order of `names`.

    Args:
        plain: in fp32.
        rounded: in 8 bits.
    Raises:
        InputError: the files do not have the same layers.
    """
    signal, noise = dict.fromkeys(names, 0.0), dict.fromkeys(names, 0.0)
    outputs = (tools.layer_outputs(content, names, images) for content in (plain, rounded))
    for exact, found in zip(*outputs, strict=True):
        for name in names:
            if exact.keys() != found.keys() or exact[name].shape != found[name].shape:
                raise InputError(f"export.layers=true: layer {name} is another one in 8 bits; please report it")
            wanted = exact[name].astype(np.float64)
            signal[name] += float((wanted**2).sum())
            noise[name] += float(((found[name] - wanted) ** 2).sum())
    return [LayerLoss(name, _decibels(signal[name], noise[name])) for name in dict.fromkeys(names)]


def _decibels(signal: float, noise: float) -> float:
    if not noise:
        return math.inf
    return 10 * math.log10(signal / noise) if signal else -math.inf
